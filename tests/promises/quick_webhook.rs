//! Rows to a web server.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::{Program, word_count};
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};
use crate::support::server::{Post, Server};
use crate::support::text::zipf_lines;

#[test]
fn each_epoch_is_a_post_that_is_made_until_it_is_taken() {
    let topic = mock().topic(2);
    let lines = zipf_lines(9, 20_000);
    topic.send(&lines);
    let server = Server::start(vec![
        Some("503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"),
        Some("429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0"),
        Some("408 Request Timeout\r\nContent-Length: 0"),
        Some("425 Too Early\r\nContent-Length: 0"),
        None,
        Some("204 No Content"),
        Some("200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Some("500 Internal Server Error\r\nContent-Length: 0"),
    ]);
    let ended = word_count(&topic.address, &topic.name)
        .with("--until-end -e 1ms --max-records 200 -w 2")
        .args(["-o", &format!("webhook:http://me:p%40ss@{}/rows?to=counts", server.address)])
        .run()
        .expect(0);
    ended.says(&["503 Service Unavailable: busy", "trying again"]);
    ended.says(&["answers again"]);
    assert!(!ended.stderr.join("\n").contains("ss@"), "the password is shown: {:?}", ended.stderr);

    let mut posts = server.posts();
    // Whatever was not taken came again, the same.
    for index in 0..5 {
        assert_eq!(posts[index], posts[5]);
    }
    assert_eq!(posts[7], posts[8]);
    posts.drain(..5);
    posts.remove(2);
    let mut keys = BTreeSet::new();
    let mut replay = Replay::default();
    for post in &posts {
        assert_eq!(post.path, "/rows?to=counts");
        assert_eq!(post.headers["content-type"], "application/x-ndjson");
        assert_eq!(post.headers["authorization"], "Basic bWU6cEBzcw==");
        assert_eq!(post.headers["cutwater-output"], "counts");
        let epoch = &post.headers["cutwater-epoch"];
        let key = &post.headers["idempotency-key"];
        assert!(key.starts_with("run-") && key.contains(&format!("/counts/{epoch}/1-")), "{key}");
        assert_eq!((&*post.headers["cutwater-part"], &*post.headers["cutwater-parts"]), ("1", "1"));
        assert!(keys.insert(key.clone()), "{key} stands for two epochs");
        for line in post.body.lines() {
            let change = Change::parse(line);
            assert_eq!(change.epoch.to_string(), *epoch);
            replay.apply(change);
        }
    }
    assert_counts(replay.counts(), &recount(&lines));
    assert!(posts.len() > 3, "{} epochs", posts.len());
}

#[test]
fn rows_after_the_end_are_one_post() {
    let topic = mock().topic(1);
    topic.send(["a b", "b"]);
    let server = Server::start(Vec::new());
    let program = word_count(&topic.address, &topic.name).with("--until-end --emit final");
    program.args(["-o", &format!("webhook:http://{}", server.address)]).run().expect(0);
    let posts = server.posts();
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert_counts(&finals(&posts[0].body.lines().collect::<Vec<_>>()), &recount(["a b", "b"]));
    assert!(posts[0].headers["idempotency-key"].contains("/counts/end-"), "{posts:?}");
    assert!(
        !posts[0].headers.contains_key("cutwater-epoch") && !posts[0].headers.contains_key("authorization")
    );
}

#[test]
fn a_server_that_refuses_ends_the_run() {
    let topic = mock().topic(1);
    topic.send(["a b"]);
    for (answer, texts) in [
        ("401 Unauthorized\r\nContent-Length: 12\r\n\r\nwho\nare you?", ["401 Unauthorized", "who are you?"]),
        ("301 Moved\r\nLocation: /x\r\nContent-Length: 0", ["301", "/rows"]),
    ] {
        let server = Server::start(vec![Some(answer)]);
        let url = format!("webhook:http://me:secret@{}/rows?token=secret", server.address);
        let program = word_count(&topic.address, &topic.name).with("--until-end").args(["-o", &url]);
        let ended = program.run().fails(1, &[texts[0], texts[1], "output counts of epoch 1"]);
        assert!(!ended.stderr.join("\n").contains("secret"), "{:?}", ended.stderr);
        assert_eq!(server.posts().len(), 1);
    }
}

/// The POSTs of an epoch of 100 rows, in parts of 1000 bytes.
fn parted(state: &Path, topic: &Topic, server: &Server, more: &str) -> Program {
    word_count(&topic.address, &topic.name)
        .with("--until-end --webhook-max-bytes 1000")
        .with(more)
        .args(["--state".as_ref(), state.as_os_str()])
        .args(["-o", &format!("webhook:http://{}", server.address)])
}

#[test]
fn large_epochs_are_parts_whose_keys_survive_a_restart() {
    let topic = mock().topic(1);
    let words: Vec<String> = (0..100).map(|number| format!("word{number}")).collect();
    let long = "x".repeat(2000);
    topic.send([words.join(" ") + " " + &long]);
    let state = tempfile::tempdir().expect("a temporary folder");
    // The third part is refused for good: the run ends, and the next one begins with the first part.
    let server = Server::start(vec![
        None,
        Some("200 OK\r\nContent-Length: 0"),
        Some("204 No Content"),
        Some("403 Forbidden\r\nContent-Length: 0"),
    ]);
    parted(state.path(), &topic, &server, "").run().fails(1, &["403"]);
    let before = server.posts();
    parted(state.path(), &topic, &server, "").run().expect(0);
    let mut posts = server.posts();
    posts.drain(..before.len());
    assert_eq!(before[1..], posts[..3], "the same parts have the same keys");
    assert_eq!(before[0], before[1]);

    let parts = posts.len();
    assert!(parts > 5, "{parts} parts");
    let keys: BTreeSet<&str> = posts.iter().map(|post| &*post.headers["idempotency-key"]).collect();
    assert_eq!(keys.len(), parts, "{keys:?}");
    let mut next = 1;
    for (index, post) in posts.iter().enumerate() {
        assert_eq!(post.headers["cutwater-part"], (index + 1).to_string());
        assert_eq!(post.headers["cutwater-parts"], parts.to_string());
        let rows = post.body.lines().count();
        assert!(post.body.len() <= 1000 || rows == 1, "{} bytes, {rows} rows", post.body.len());
        let key = &post.headers["idempotency-key"];
        assert!(key.ends_with(&format!("/counts/1/{next}-{}", next + rows - 1)), "{key}");
        next += rows;
    }
    let rows: Vec<&str> = posts.iter().flat_map(|post| post.body.lines()).collect();
    assert_counts(Replay::of(&rows).counts(), &recount([words.join(" "), long]));
}

#[test]
fn a_server_that_takes_less_is_told_with_the_option() {
    let topic = mock().topic(1);
    topic.send(["a b"]);
    const REFUSED: &str = "413 Payload Too Large\r\nContent-Length: 0";
    let url = |server: &Server| format!("webhook:http://{}", server.address);
    let program = || word_count(&topic.address, &topic.name).with("--until-end");
    let server = Server::start(vec![Some(REFUSED)]);
    let ended = program().args(["-o", &url(&server)]).run();
    ended.fails(1, &["413", "lower --webhook-max-bytes (now 1048576)"]);
    // Each row is a POST of its own already.
    let server = Server::start(vec![Some(REFUSED)]);
    let ended = program().with("--webhook-max-bytes 1").args(["-o", &url(&server)]).run();
    ended.fails(1, &["413", "one row", "raise the server's limit"]);
}

/// What a server answers must not steer the terminal of who reads the log.
#[test]
fn an_answer_is_shown_without_its_control_characters() {
    let topic = mock().topic(1);
    topic.send(["a b"]);
    let answer = "400 Bad Request\r\nContent-Length: 14\r\n\r\n\u{1b}[31mred\u{1b}[2J\u{7}";
    let server = Server::start(vec![Some(answer)]);
    let url = format!("webhook:http://{}/rows", server.address);
    let ended = word_count(&topic.address, &topic.name).with("--until-end").args(["-o", &url]).run();
    let ended = ended.fails(1, &["400 Bad Request: \\u{1b}[31mred\\u{1b}[2J\\u{7}"]);
    let steers = |line: &&String| line.chars().any(|c| c.is_control());
    assert_eq!(ended.stderr.iter().find(steers), None);
}

/// The libraries' words for it, `InvalidContentType`, are of their insides.
#[test]
fn the_wrong_scheme_is_said() {
    let topic = mock().topic(1);
    topic.send(["a b"]);
    let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = plain.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let mut stream = stream.expect("a connection");
            // Fails where the other has gone.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let url = format!("webhook:https://{address}/rows");
    let run = word_count(&topic.address, &topic.name).with("--until-end").args(["-o", &url]).start();
    let line = run.wait_stderr("does not speak TLS");
    assert!(line.contains("http:// instead of https://") && !line.contains("InvalidContentType"), "{line}");
}

#[test]
fn dead_letters_that_are_too_large_for_the_server_are_cut_and_say_so() {
    const REFUSED: Option<&str> = Some("413 Payload Too Large\r\nContent-Length: 0");
    const TAKEN: Option<&str> = Some("200 OK\r\nContent-Length: 0");
    let topic = mock().topic(1);
    let writer = topic.writer();
    let large = [&[0xff][..], &[b'v'; 3999]].concat();
    writer.send(0, Some(&large));
    writer.send(0, Some(b"\xfe"));
    writer.flush();
    // Both, the large one, half of it, a quarter of it, and the small one.
    let server = Server::start(vec![REFUSED, REFUSED, REFUSED, TAKEN, TAKEN]);
    let program = word_count(&topic.address, &topic.name).with("--until-end -o none --dead-letter");
    let ended = program.args([format!("webhook:http://{}", server.address)]).run().expect(0);
    ended.says(&["2 dead letters"]);
    assert!(!ended.stderr.join("\n").contains("--dead-letter"), "it is given: {:?}", ended.stderr);
    let posts = server.posts();
    let rows = |post: &Post| post.body.lines().count();
    assert_eq!(posts.iter().map(rows).collect::<Vec<_>>(), [2, 1, 1, 1, 1]);
    let keys =
        posts.iter().map(|post| post.headers["idempotency-key"].rsplit('/').next().expect("rows").to_owned());
    assert_eq!(keys.collect::<Vec<_>>(), ["1-2", "1-1", "1-1", "1-1", "2-2"]);
    assert!(
        posts[3].body.contains("not UTF-8 from byte 0; only the first 1000 of the value's 4000 bytes"),
        "{posts:?}"
    );
    assert!(posts[3].body.len() < 2000 && posts[4].body.contains(r#""offset":1,"#), "{posts:?}");
}
