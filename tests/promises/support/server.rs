//! A web server that answers as it is told, and keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A POST that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub path: String,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// A server on loopback. It lives as long as this process.
pub struct Server {
    /// Its host and port.
    pub address: String,
    posts: Arc<Mutex<Vec<Post>>>,
}

/// What it answers to one POST: everything from the status line on, or nothing before it hangs up.
pub type Answer = Option<&'static str>;

impl Server {
    /// Starts one. It answers the first POSTs with `answers`, and 200 to all others.
    pub fn start(answers: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it listens").to_string();
        let posts = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let kept = Arc::clone(&posts);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
                std::thread::spawn(move || serve(&stream.expect("a connection"), &kept, &answers));
            }
        });
        Server { address, posts }
    }

    /// What has come.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().expect("no reader panics").clone()
    }
}

/// Answers what comes on a connection.
fn serve(stream: &TcpStream, posts: &Mutex<Vec<Post>>, answers: &Mutex<impl Iterator<Item = Answer>>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(post) = read(&mut reader) {
        posts.lock().expect("no reader panics").push(post);
        let answer = answers.lock().expect("no reader panics").next();
        let Some(answer) = answer.unwrap_or(Some("200 OK\r\nContent-Length: 0")) else { break };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        if write!(writer, "HTTP/1.1 {head}\r\n\r\n{body}").is_err() {
            break;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Post> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.strip_prefix("POST ").expect("a POST").split(' ').next().expect("a path").to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").expect("a length").parse().expect("a number");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Post { path, headers, body: String::from_utf8(body).expect("text") })
}
