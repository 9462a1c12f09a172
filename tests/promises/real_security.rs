//! Runs that prove who they are: TLS, mutual TLS and SASL on a real broker with ACLs. What is refused is told in one line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use cutwater::kafka::client::Fetch;
use nix::sys::signal::{SIGHUP, SIGTERM};

use crate::support::broker::{Broker, Listener};
use crate::support::kafka::{Kafka, Topic};
use crate::support::program::{Program, cutwater, fetch, word_count};
use crate::support::rows::{Change, assert_counts, finals, recount};
use crate::support::unique;

const LINES: [&str; 3] = ["a b", "b c", "c d c"];

/// The one broker of all these tests, its listeners and what its users may.
struct Secured {
    broker: Broker,
    lines: Topic,
    out: Topic,
    /// What is read while a password changes.
    renewed: Topic,
    /// Certificates and keys, with what made them.
    folder: PathBuf,
}

const LISTENERS: [(&str, &str); 6] = [
    ("TLS", "SSL"),
    ("MTLS", "SSL"),
    ("OLD", "SSL"),
    ("PLAIN", "SASL_SSL"),
    ("SCRAM", "SASL_SSL"),
    ("OAUTH", "SASL_PLAINTEXT"),
];

/// Users of PLAIN; the password of each is its name with `-secret`. What each lacks is in its name; alice lacks nothing.
const USERS: [&str; 7] = ["alice", "noread", "nowrite", "nogroup", "notxn", "nocreate", "stranger"];

fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    SECURED.get_or_init(|| {
        let listeners = LISTENERS.map(|(name, protocol)| Listener { name, protocol });
        let broker = Broker::with_listeners(&listeners, |dir| {
            let folder = dir.join("certificates");
            fs::create_dir(&folder).expect("a folder");
            certificates(&folder);
            properties(&folder)
        });
        let folder = broker.dir().join("certificates");
        let kafka = Kafka::at(&broker.address);
        let (lines, out) = (kafka.named_topic("lines", 2), kafka.named_topic("out", 2));
        let renewed = kafka.named_topic("renewed", 2);
        lines.send(LINES);
        renewed.send(LINES);
        allow(&broker);
        Secured { broker, lines, out, renewed, folder }
    })
}

/// Runs openssl in a folder.
fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("starting openssl: {error} (Debian: apt-get install openssl)"));
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and what it has signed: a broker's certificate, an expired one, and that of a client.
fn certificates(folder: &Path) {
    let request = |name: &str| format!("-newkey rsa:2048 -nodes -keyout {name}.key -subj /CN={name}");
    openssl(folder, &format!("req -x509 {} -out authority.pem -days 30", request("authority")));
    fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    for (name, days) in [("broker", "30"), ("old", "-1"), ("alice", "30")] {
        openssl(folder, &format!("req {} -out {name}.csr", request(name)));
        let by = "-CA authority.pem -CAkey authority.key -CAcreateserial -extfile names";
        openssl(folder, &format!("x509 -req -in {name}.csr {by} -out {name}.pem -days {days}"));
        let both =
            ["key", "pem"].map(|part| fs::read(folder.join(format!("{name}.{part}"))).expect("it is there"));
        fs::write(folder.join(format!("{name}.both")), both.concat()).expect("a file");
    }
}

/// What the broker is to be: what it shows of itself, whom it knows.
fn properties(folder: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let module = |name: &str, rest: &str| format!("org.apache.kafka.common.security.{name} required {rest};");
    let users: String = USERS.iter().map(|user| format!("user_{user}=\"{user}-secret\" ")).collect();
    let mut properties = vec![
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", path("broker.both")),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", path("authority.pem")),
        "listener.name.mtls.ssl.client.auth=required".to_owned(),
        "ssl.principal.mapping.rules=RULE:^CN=(.*?)$/$1/".to_owned(),
        "listener.name.old.ssl.keystore.type=PEM".to_owned(),
        format!("listener.name.old.ssl.keystore.location={}", path("old.both")),
        // Whoever has been connected for so long has to prove anew who he is.
        "connections.max.reauth.ms=3000".to_owned(),
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        "super.users=User:ANONYMOUS".to_owned(),
    ];
    for (listener, mechanism, login) in [
        ("plain", "PLAIN", module("plain.PlainLoginModule", &users)),
        ("scram", "SCRAM-SHA-512", module("scram.ScramLoginModule", "")),
        (
            "oauth",
            "OAUTHBEARER",
            module("oauthbearer.OAuthBearerLoginModule", "unsecuredLoginStringClaim_sub=\"broker\""),
        ),
    ] {
        properties.push(format!("listener.name.{listener}.sasl.enabled.mechanisms={mechanism}"));
        let name = mechanism.to_lowercase();
        properties.push(format!("listener.name.{listener}.{name}.sasl.jaas.config={login}"));
    }
    properties
}

/// Runs Kafka's own tools side by side.
fn tools(broker: &Broker, commands: &[String]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka");
    for some in commands.chunks(3) {
        let running: Vec<_> = some
            .iter()
            .map(|command| {
                let (tool, rest) = command.split_once(' ').expect("a tool and its arguments");
                let start = Command::new(&script)
                    .args(["tool", tool, "--bootstrap-server", &broker.address])
                    .args(rest.split_whitespace())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn();
                (command, start.expect("starting a script"))
            })
            .collect();
        for (command, running) in running {
            let output = running.wait_with_output().expect("it runs");
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// What each user may.
fn allow(broker: &Broker) {
    let all_but = |lacking: &[&str]| -> String {
        let users = USERS.iter().filter(|user| **user != "stranger" && !lacking.contains(user));
        users.map(|user| format!("--allow-principal User:{user} ")).collect()
    };
    let acl = |who: String, what: &str| format!("acls --add {who} {what}");
    let prefixed = "--resource-pattern-type prefixed";
    tools(
        broker,
        &[
            acl(all_but(&["noread"]), "--operation Read --topic lines"),
            acl("--allow-principal User:noread".to_owned(), "--operation Describe --topic lines"),
            acl("--allow-principal User:alice".to_owned(), "--operation Read --topic renewed"),
            acl(all_but(&["nowrite"]), "--operation Write --topic out"),
            acl("--allow-principal User:nowrite".to_owned(), "--operation Describe --topic out"),
            acl(all_but(&["nogroup"]), &format!("--operation Read --group security- {prefixed}")),
            acl(
                all_but(&["notxn"]),
                &format!("--operation Write --operation Describe --transactional-id cutwater- {prefixed}"),
            ),
            password("first"),
        ],
    );
}

/// Gives alice a password for SCRAM.
fn password(password: &str) -> String {
    format!(
        "configs --alter --entity-type users --entity-name alice --add-config \
         SCRAM-SHA-512=[iterations=4096,password={password}]"
    )
}

impl Secured {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// `word-count` by this listener, with a group that users may use.
    fn run(&self, listener: &str) -> Program {
        self.reading(&self.lines, listener)
    }

    fn reading(&self, topic: &Topic, listener: &str) -> Program {
        let address = self.broker.listener(listener);
        let group = format!("group.id=security-{}", unique());
        word_count(&address, &topic.name).args(["-X", &group, "--connect-timeout", "60s"])
    }

    fn trusting(&self, listener: &str) -> Program {
        self.run(listener).args(["-X", &self.authority()])
    }

    fn authority(&self) -> String {
        format!("ssl.ca.location={}", self.path("authority.pem"))
    }

    fn plain(&self, user: &str, password: &str) -> Program {
        let login = format!("-X sasl.username={user} -X sasl.password={password}");
        self.trusting("PLAIN").with("-X security.protocol=sasl_ssl -X sasl.mechanisms=PLAIN").with(&login)
    }

    fn scram(&self, file: &Path) -> Program {
        let login = "-X security.protocol=sasl_ssl -X sasl.mechanisms=SCRAM-SHA-512 -X sasl.username=alice";
        let program = self.reading(&self.renewed, "SCRAM").args(["-X", &self.authority()]);
        program.with(login).args(["--set-file", &format!("sasl.password={}", file.display())])
    }
}

/// With state, and in transactions.
fn whole(program: Program, to: &str, state: &Path) -> Program {
    program.with("--until-end").args(["-o", to, "--emit", "changes", "--state"]).args([state])
}

#[test]
fn a_run_goes_from_end_to_end_however_it_proves_who_it_is() {
    let secured = secured();
    let password = secured.folder.join("password-of-alice");
    fs::write(&password, "alice-secret\n").expect("a file");
    let mutual = format!(
        "-X security.protocol=ssl -X ssl.certificate.location={} -X ssl.key.location={}",
        secured.path("alice.pem"),
        secured.path("alice.key")
    );
    let plain = "-X security.protocol=sasl_ssl -X sasl.mechanisms=PLAIN -X sasl.username=alice";
    let from_file = format!("sasl.password={}", password.display());
    let oauth = "-X security.protocol=sasl_plaintext -X sasl.mechanisms=OAUTHBEARER \
                 -X enable.sasl.oauthbearer.unsecure.jwt=true -X sasl.oauthbearer.config=principal=alice";
    for program in [
        &(|| secured.trusting("TLS").with("-X security.protocol=ssl")) as &dyn Fn() -> Program,
        &|| secured.trusting("MTLS").with(&mutual),
        &|| secured.trusting("PLAIN").with(plain).args(["--set-file", &from_file]),
        &|| secured.run("OAUTH").with(oauth),
    ] {
        if fetch() == Fetch::Direct && program().shows("OAUTHBEARER") {
            program().run().fails(2, &["--fetch direct does not know", "oauthbearer"]);
            continue;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let before = secured.out.records().len();
        whole(program(), "kafka:out", &folder.path().join("state")).run().expect(0);
        assert!(secured.out.records().len() >= before + recount(LINES).len(), "its rows are there");
        let counts = program().with("--until-end --emit final -o stdout").rows();
        assert_counts(&finals(&counts), &recount(LINES));
    }
    // The lines of others go where they are let.
    let produce = cutwater(["produce", "-t", "out", "-b", &secured.broker.listener("PLAIN")]);
    let ca = secured.authority();
    produce.with(plain).args(["-X", &ca, "--set-file", &from_file]).input(b"a\n").run().expect(0);
}

#[test]
fn who_is_not_let_in_is_told_why_in_one_line() {
    let secured = secured();
    let ssl = "-X security.protocol=ssl";
    for (program, says) in [
        (secured.plain("alice", "wrong"), ["refuses User:alice", "password"]),
        (secured.run("TLS").with(ssl), ["is not trusted", "ssl.ca.location"]),
        (secured.trusting("OLD").with(ssl), ["is not trusted", "it has expired"]),
        (secured.run("TLS"), ["speaks TLS there", "security.protocol=ssl"]),
        (secured.run("OAUTH").with(ssl), ["speaks no TLS", "security.protocol"]),
        (secured.trusting("MTLS").with(ssl), ["certificate", "ssl.certificate.location"]),
        (
            secured.trusting("SCRAM").with("-X security.protocol=sasl_ssl -X sasl.mechanisms=PLAIN -X sasl.username=a -X sasl.password=b"),
            ["no such mechanism", "sasl.mechanisms"],
        ),
    ]
    .map(|(program, says)| (program.with("--until-end").start(), says))
    {
        let ended = program.wait().fails(1, &[&["does not let this run in"], &says[..]].concat());
        assert!(!ended.stderr.concat().contains("-secret"));
    }
}

#[test]
fn a_missing_acl_is_named_in_one_line() {
    let secured = secured();
    for (user, to, says) in [
        ("noread", "kafka:out", ["read topic lines", "ACL READ on topic lines"]),
        ("nowrite", "kafka:out", ["write topic out", "ACL WRITE on topic out"]),
        ("nogroup", "kafka:out", ["group security-", "ACL READ on group security-"]),
        ("nogroup", "none", ["group security-", "ACL READ on group security-"]),
        (
            "notxn",
            "kafka:out",
            ["transactions with id cutwater-", "ACL WRITE and DESCRIBE on transactional id cutwater-"],
        ),
        ("nocreate", "kafka:new", ["make topic new", "ACL CREATE on topic new"]),
        ("stranger", "kafka:out", ["write topic out", "ACL WRITE on topic out"]),
        ("stranger", "none", ["read topic lines", "ACL READ on topic lines"]),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = secured.plain(user, &format!("{user}-secret"));
        let program = whole(program, to, &folder.path().join("state"));
        let program = if user == "nocreate" { program.with("--create-topics 1") } else { program };
        let refused = format!("the broker refuses to let User:{user}");
        program.run().fails(1, &[&[&*refused], &says[..]].concat());
    }
}

/// A password is changed, and SIGHUP has it read again: the run goes on where the old one is taken no more.
#[test]
fn a_password_is_renewed_while_the_run_goes_on() {
    let secured = secured();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("password");
    fs::write(&file, "first\n").expect("a file");
    let mut run = secured.scram(&file).with("-n 2 -o stdout -e 10ms").start();
    run.rows_until(|line| line.contains("\"d\""));
    let mut count = 0;
    let mut is_counted = |run: &mut crate::support::program::Running| {
        count += 1;
        let word = format!("word-{count}");
        secured.renewed.send([&word, &word]);
        run.rows_until(|line| Change::parse(line).row.word == word);
    };
    is_counted(&mut run);
    tools(&secured.broker, &[password("second")]);
    fs::write(&file, "second\n").expect("a file");
    run.signal(SIGHUP);
    while run.lines_with("it has changed, and is used for connections").len() < 2 {
        run.wait_stderr("it has changed, and is used for connections");
    }
    // For longer than a connection lasts without a new proof.
    for _ in 0..10 {
        is_counted(&mut run);
        std::thread::sleep(Duration::from_millis(500));
    }
    // The old one is taken no more.
    fs::write(&file, "first\n").expect("a file");
    let refused = secured.scram(&file).with("--until-end -o none").run();
    refused.fails(1, &["refuses User:alice"]);
    run.signal(SIGTERM);
    let ended = run.wait().expect(0);
    assert!(!ended.stderr.concat().contains("does not let"));
}
