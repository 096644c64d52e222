//! What a server of ours says of itself at `/metrics`: one blocking scrape, summed by name. `profile` and `soak` read it; a server without such
//! a page gives an error in words, and the figure is then not measured.

use crate::PerfError;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest page that is read, bytes.
const PAGE_BYTES_MAX: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// One look: each line's value by its name and labels, as they stand on the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    values: BTreeMap<String, f64>,
}

impl Scrape {
    /// Asks HOST:PORT.
    ///
    /// # Errors
    /// When nothing answers there, or something else than a page of metrics.
    pub fn of(address: &str) -> Result<Scrape, PerfError> {
        let failed = |error| PerfError::network(format!("http://{address}/metrics"), error);
        let mut stream = TcpStream::connect(address).map_err(failed)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| {
                let request = format!(
                    "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(request.as_bytes())
            })
            .map_err(failed)?;
        let mut page = String::new();
        stream
            .take(PAGE_BYTES_MAX)
            .read_to_string(&mut page)
            .map_err(failed)?;
        match page.starts_with("HTTP/1.1 200") {
            true => Ok(Scrape::read(&page)),
            false => Err(PerfError::Protocol(format!(
                "http://{address}/metrics: {}",
                page.lines().next().unwrap_or("no answer")
            ))),
        }
    }

    /// Lines of a page that are a name and a number; all else, such as the answer's own headers, is passed over.
    fn read(page: &str) -> Scrape {
        let values = page.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let named = !name.starts_with('#') && !name.contains(": ") && !name.ends_with(':');
            Some((name.to_string(), value.parse().ok()?)).filter(|_| named)
        });
        Scrape {
            values: values.collect(),
        }
    }

    /// The sum over all lines of this metric; a counter's name is found with and without its `_total`.
    pub fn sum(&self, metric: &str) -> Option<f64> {
        self.sum_where(metric, "")
    }

    /// The same over the lines whose labels hold `label`, such as `api="Produce"`.
    pub fn sum_where(&self, metric: &str, label: &str) -> Option<f64> {
        let wanted = self.values.iter().filter(|(line, _)| {
            let (name, labels) = line.split_once('{').unwrap_or((line, ""));
            name.strip_suffix("_total").unwrap_or(name) == metric && labels.contains(label)
        });
        let values: Vec<f64> = wanted.map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::Scrape;

    #[test]
    fn a_page_is_summed_by_name_and_label() {
        let scrape = Scrape::read(
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n# TYPE odradek_requests counter\n\
             odradek_requests_total{api=\"Produce\",core=\"0\"} 7\nodradek_requests_total{api=\"Fetch\",core=\"0\"} 2\nodradek_up 1\n",
        );
        assert_eq!(scrape.sum("odradek_requests"), Some(9.0));
        assert_eq!(
            scrape.sum_where("odradek_requests", "api=\"Produce\""),
            Some(7.0)
        );
        assert_eq!(scrape.sum("odradek_up"), Some(1.0));
        assert_eq!(scrape.sum("content-length"), None);
    }
}
