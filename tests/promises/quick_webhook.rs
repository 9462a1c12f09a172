//! Rows to a web server.

use std::collections::BTreeSet;

use crate::support::broker::mock;
use crate::support::program::word_count;
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};
use crate::support::server::Server;
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
        assert!(key.starts_with("run-") && key.ends_with(&format!("/counts/{epoch}")), "{key}");
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
