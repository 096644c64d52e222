//! `/metrics`, `/health` and the pages of the node, over HTTP/1.1 on a port of its own, with hyper.
//!
//! Runs on the background executor of core 0 (`background.rs`), or on a plain thread where there is none. It reads shared counters and calls
//! closures; nothing it does can hold up a data loop. At most `CONNECTIONS_MAX` clients at a time; one more waits to be accepted.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tracing::debug;

use super::disk::listener_for_glommio;
use super::metrics::Registry;

const CONNECTIONS_MAX: usize = 64;
/// A client that says nothing for this long is dropped.
const SILENCE: Duration = Duration::from_secs(30);
/// Where one client is served after the other, it has less time.
const SILENCE_PLAIN: Duration = Duration::from_secs(3);
const HELP: &str = "Odradek serves /metrics (Prometheus text) and /health here. Kafka clients connect to the broker's own port.\n";

/// What `/health` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// 200 when true, 503 when not.
    pub well: bool,
    pub content_type: &'static str,
    /// A line.
    pub text: String,
}

/// A page that the node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub content_type: &'static str,
    pub body: String,
}

/// Finds a page by its path.
pub type PageByPath = dyn Fn(&str) -> Option<Page> + Send + Sync;

/// What HTTP shows. The closures are called on the background thread, at each request.
#[derive(Clone)]
pub struct Pages {
    pub registry: Registry,
    /// Called before a scrape, to bring cells up to date that are kept elsewhere.
    pub refresh: Arc<dyn Fn() + Send + Sync>,
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// Other pages, by path.
    pub page: Arc<PageByPath>,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pages")
    }
}

impl Pages {
    /// The registry alone: always well, no other page.
    pub fn of(registry: Registry) -> Self {
        Self {
            registry,
            refresh: Arc::new(|| {}),
            health: Arc::new(|| Health {
                well: true,
                content_type: "text/plain; charset=utf-8",
                text: "ok".to_owned(),
            }),
            page: Arc::new(|_| None),
        }
    }

    /// The answer to one request.
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                HELP.to_owned(),
            );
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/metrics" => {
                (self.refresh)();
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                text(StatusCode::OK, kind, self.registry.text())
            }
            "/health" => {
                let health = (self.health)();
                let status = if health.well {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                text(status, health.content_type, health.text + "\n")
            }
            other => match (self.page)(other) {
                Some(page) => text(StatusCode::OK, page.content_type, page.body),
                None => text(StatusCode::NOT_FOUND, "text/plain", HELP.to_owned()),
            },
        }
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

async fn serve_connection<Io>(io: Io, pages: Pages)
where
    Io: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = pages.respond(request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let served = http1::Builder::new()
        .keep_alive(true)
        .max_buf_size(16 << 10)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        debug!("an HTTP client went wrong: {error}");
    }
}

/// Serves on glommio until cancelled.
pub(super) async fn serve(listener: TcpListener, pages: Pages) {
    let listener = listener_for_glommio(listener);
    let open = Rc::new(Cell::new(0));
    loop {
        if open.get() >= CONNECTIONS_MAX {
            glommio::timer::sleep(Duration::from_millis(50)).await;
            continue;
        }
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                debug!("cannot accept an HTTP client: {error}");
                glommio::timer::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_read_timeout(Some(SILENCE));
        let _ = stream.set_write_timeout(Some(SILENCE));
        open.set(open.get() + 1);
        let (pages, open) = (pages.clone(), Rc::clone(&open));
        glommio::spawn_local(async move {
            serve_connection(GlommioIo(stream), pages).await;
            open.set(open.get() - 1);
        })
        .detach();
    }
}

/// Serves one client after the other on the calling thread, for as long as the process lives.
pub(super) fn serve_plainly(listener: &TcpListener, pages: &Pages) {
    let _ = listener.set_nonblocking(false);
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                if let Ok(io) = PlainIo::new(stream) {
                    futures_lite::future::block_on(serve_connection(io, pages.clone()));
                }
            }
            Err(error) => {
                debug!("cannot accept an HTTP client: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// glommio's stream as hyper wants it.
struct GlommioIo(glommio::net::TcpStream);

impl hyper::rt::Read for GlommioIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let room = bytes.len().min(buffer.remaining());
        let read = ready!(Pin::new(&mut self.0).poll_read(context, &mut bytes[..room]))?;
        buffer.put_slice(&bytes[..read]);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for GlommioIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// A plain stream as hyper wants it: what is not ready is asked for again after a millisecond, on a thread that has nothing else to do.
struct PlainIo {
    stream: std::net::TcpStream,
    give_up: Instant,
}

impl PlainIo {
    fn new(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let give_up = Instant::now() + SILENCE_PLAIN;
        Ok(Self { stream, give_up })
    }

    /// Says when an attempt is to be repeated.
    fn ready<T>(&mut self, tried: io::Result<T>, context: &Context<'_>) -> Poll<io::Result<T>> {
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= self.give_up {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                std::thread::sleep(Duration::from_millis(1));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            done => {
                self.give_up = Instant::now() + SILENCE_PLAIN;
                Poll::Ready(done)
            }
        }
    }
}

impl hyper::rt::Read for PlainIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let room = bytes.len().min(buffer.remaining());
        let tried = self.stream.read(&mut bytes[..room]);
        let read = ready!(self.ready(tried, context))?;
        buffer.put_slice(&bytes[..read]);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for PlainIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = self.stream.write(bytes);
        self.ready(tried, context)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(std::net::Shutdown::Write))
    }
}
