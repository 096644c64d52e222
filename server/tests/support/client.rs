//! A Kafka client that blocks: one socket, one request at a time, or raw bytes where a test is rude on purpose.
//! Codec and messages are the `protocol` crate's.

use bytes::Bytes;
use odradek_protocol::api::{request_header_version, response_header_version};
use odradek_protocol::codec::{Reader, Writer};
use odradek_protocol::messages::{RequestHeader, ResponseHeader};
use odradek_protocol::{ApiKey, Message, StrBytes};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that takes longer is a stall.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a connection ended, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server closed it, in order or with a reset.
    Closed,
    /// Bytes came instead.
    Answered,
    /// Nothing came for as long as an answer may take.
    Silent,
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    next_correlation_id: i32,
    /// Sent in every request header.
    pub client_id: &'static str,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::of(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// From another address of this machine, where limits count by address.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect(&address.into())?;
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            next_correlation_id: 1,
            client_id: "hostile",
        })
    }

    /// A request as bytes after the frame's size: header and body.
    pub fn request_bytes<Q: Message>(&mut self, api: ApiKey, version: i16, body: &Q) -> Vec<u8> {
        let mut writer = self.header(api, version);
        body.encode(&mut writer, version)
            .unwrap_or_else(|error| panic!("{api:?} v{version} encodes: {error}"));
        writer.into_bytes().to_vec()
    }

    /// A header with a body of the test's own bytes.
    pub fn request_of_bytes(&mut self, api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
        let mut writer = self.header(api, version);
        writer.write_raw(body);
        writer.into_bytes().to_vec()
    }

    fn header(&mut self, api: ApiKey, version: i16) -> Writer {
        let header = RequestHeader {
            request_api_key: api as i16,
            request_api_version: version,
            correlation_id: self.next_correlation_id,
            client_id: Some(StrBytes::from(self.client_id)),
            ..RequestHeader::default()
        };
        self.next_correlation_id += 1;
        let mut writer = Writer::new();
        header
            .encode(&mut writer, request_header_version(api, version))
            .expect("a request header encodes");
        writer
    }

    /// Sends bytes with their size before them.
    pub fn send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let size = i32::try_from(frame.len()).expect("a frame of a test is small");
        self.stream.write_all(&size.to_be_bytes())?;
        self.stream.write_all(frame)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send<Q: Message>(&mut self, api: ApiKey, version: i16, body: &Q) -> io::Result<()> {
        let frame = self.request_bytes(api, version, body);
        self.send_frame(&frame)
    }

    /// The bytes of the next frame.
    pub fn receive_frame(&mut self) -> io::Result<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).expect("a size is not negative");
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame)?;
        Ok(Bytes::from(frame))
    }

    /// The next answer, with its correlation id.
    pub fn receive<R: Message>(&mut self, api: ApiKey, version: i16) -> io::Result<(i32, R)> {
        let mut reader = Reader::new(self.receive_frame()?);
        let malformed = |error| io::Error::other(format!("{api:?} v{version}: {error}"));
        let header = ResponseHeader::decode(&mut reader, response_header_version(api, version))
            .map_err(malformed)?;
        let body = R::decode(&mut reader, version).map_err(malformed)?;
        reader.expect_end().map_err(malformed)?;
        Ok((header.correlation_id, body))
    }

    pub fn try_call<Q: Message, R: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &Q,
    ) -> io::Result<R> {
        let expected = self.next_correlation_id;
        self.send(api, version, body)?;
        let (correlation_id, answer) = self.receive(api, version)?;
        if correlation_id != expected {
            return Err(io::Error::other(format!(
                "{api:?} v{version}: an answer to {correlation_id} came for {expected}"
            )));
        }
        Ok(answer)
    }

    pub fn call<Q: Message, R: Message>(&mut self, api: ApiKey, version: i16, body: &Q) -> R {
        self.try_call(api, version, body)
            .unwrap_or_else(|error| panic!("{api:?} v{version} is answered: {error}"))
    }

    /// Waits for the server's next word.
    pub fn end(&mut self) -> End {
        let mut byte = [0];
        loop {
            return match self.stream.read(&mut byte) {
                Ok(0) => End::Closed,
                Ok(_) => End::Answered,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    End::Silent
                }
                Err(_) => End::Closed,
            };
        }
    }

    /// The server must close this connection without a word.
    pub fn expect_close(&mut self) {
        assert_eq!(self.end(), End::Closed);
    }

    /// No more bytes from this side.
    pub fn shut_down_writing(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// A second handle, so that one thread writes while another reads.
    pub fn split(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a socket can be shared"),
            next_correlation_id: 1,
            client_id: self.client_id,
        }
    }
}
