//! An HTTP server that keeps what it is sent, and a proxy before it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `POST /path HTTP/1.1`
    pub line: String,
    /// In small letters.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
}

impl Asked {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }
}

/// Answers everything with one status, and says back what it was asked for.
#[derive(Debug)]
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Sink {
    /// Answers with this status, such as `200 OK`.
    pub fn start(status: &'static str) -> Self {
        Self::serve(move |asked| {
            let body =
                format!("you asked for {} with {}", asked.line, asked.header("authorization"));
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
    }

    /// A proxy: hands on what it is asked for by its whole address (RFC 9112 section 3.2.2).
    pub fn proxy() -> Self {
        Self::serve(|asked| {
            let (_, rest) = asked.line.split_once("http://").expect("a whole address is asked for");
            let (host, _) = rest.split_once('/').unwrap();
            let mut origin = TcpStream::connect(host).unwrap();
            let request = format!(
                "{}\r\nHost: {host}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
                asked.line,
                asked.body.len(),
                asked.body
            );
            origin.write_all(request.as_bytes()).unwrap();
            let (line, headers, body) = receive(&mut BufReader::new(origin)).unwrap();
            let _ = headers;
            format!("{line}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
    }

    /// What came until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn serve(answer: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some((line, headers, body)) = receive(&mut reader) {
                        let asked = Asked { line, headers, body };
                        let text = answer(&asked);
                        kept.lock().unwrap().push(asked);
                        let _ = reader.get_mut().write_all(text.as_bytes());
                    }
                });
            }
        });
        Self { address, asked }
    }
}

type Parts = (String, Vec<(String, String)>, String);

/// First line, headers and body of a request or an answer.
fn receive(reader: &mut BufReader<TcpStream>) -> Option<Parts> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, n)| n.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((lines.first()?.clone(), headers, String::from_utf8_lossy(&body).into_owned()))
}
