//! Hosts and the link between them, as network namespaces of this test. The link can be cut: then every packet
//! vanishes, and nobody is told.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// Two hosts or more, each in a namespace of its own, and one more namespace between them, which forwards. They are removed,
/// with all that runs in them, when this is dropped.
pub struct Link {
    /// The namespaces of the hosts.
    pub hosts: Vec<String>,
    /// The addresses of the hosts.
    pub addresses: Vec<String>,
    between: String,
    over: Arc<AtomicBool>,
}

/// The address of the forwarder on a host's side.
fn via(host: usize) -> String {
    format!("10.231.{}.254", host + 1)
}

/// The forwarder's device on a host's side.
fn side(host: usize) -> String {
    format!("side{host}")
}

impl Link {
    /// Makes two hosts.
    ///
    /// # Panics
    /// Without root, or without iproute2: says what is needed.
    pub fn make() -> Link {
        Link::of(2)
    }

    /// Makes so many hosts.
    ///
    /// # Panics
    /// As [`Link::make`].
    pub fn of(hosts: usize) -> Link {
        assert!(
            std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0),
            "this test makes network namespaces, which takes root: run it as root, or with sudo"
        );
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = |what: &str| {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            format!("cutwater-{}-{count}-{what}", std::process::id())
        };
        let link = Link {
            hosts: (0..hosts).map(|host| name(&format!("host{host}"))).collect(),
            addresses: (0..hosts).map(|host| format!("10.231.{}.1", host + 1)).collect(),
            between: name("between"),
            over: Arc::default(),
        };
        for namespace in link.hosts.iter().chain([&link.between]) {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        for (index, (host, own)) in link.hosts.iter().zip(&link.addresses).enumerate() {
            let (far, via, between) = (side(index), via(index), link.between.as_str());
            ip(&["-n", host, "link", "add", "near", "type", "veth", "peer", "name", &far, "netns", between]);
            for (namespace, device, address) in [(host.as_str(), "near", own), (between, &far, &via)] {
                ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", device]);
                ip(&["-n", namespace, "link", "set", device, "up"]);
            }
            ip(&["-n", host, "route", "add", "default", "via", &via]);
        }
        // Its settings are those of the thread that looks at them.
        inside(&link.between, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
            .expect("the namespace between the hosts forwards");
        link
    }

    /// From now on, what one host sends to the other vanishes.
    pub fn cut(&self) {
        self.change("add");
    }

    /// It arrives as before.
    pub fn mend(&self) {
        self.change("del");
    }

    fn change(&self, how: &str) {
        for address in &self.addresses {
            ip(&["-n", &self.between, "route", how, "blackhole", &format!("{address}/32")]);
        }
    }

    /// From now on, what one of these two hosts sends to the other vanishes. Both reach all others.
    pub fn part(&self, a: usize, b: usize) {
        self.change_rule("add", a, b);
    }

    /// What they send to each other arrives as before.
    pub fn join(&self, a: usize, b: usize) {
        self.change_rule("del", a, b);
    }

    fn change_rule(&self, how: &str, a: usize, b: usize) {
        let (a, b) = (&self.addresses[a], &self.addresses[b]);
        for (from, to) in [(a, b), (b, a)] {
            ip(&["-n", &self.between, "rule", how, "from", from, "to", to, "blackhole"]);
        }
    }

    /// A host loses its power: nobody is told, and all that ran on it is gone.
    pub fn kill(&self, host: usize) {
        ip(&["-n", &self.between, "link", "set", &side(host), "down"]);
        end_all(&self.hosts[host]);
    }

    /// It has power again. Nothing runs on it.
    pub fn revive(&self, host: usize) {
        ip(&["-n", &self.between, "link", "set", &side(host), "up"]);
    }

    /// Makes all hosts far away and their links bad, until what this returns is dropped. Returns also what was done, for
    /// the report: delay and loss of packets by chance, where the kernel has `sch_netem`; else each link is
    /// narrow, so that packets wait, and all that is sent from host to host vanishes for a while now and then.
    pub fn disturb(&self) -> (Disturbance, &'static str) {
        let devices = (0..self.hosts.len()).map(side);
        let netem = ["root", "netem", "delay", "5ms", "2ms", "loss", "1%"];
        let narrow = ["root", "tbf", "rate", "20mbit", "burst", "16kb", "latency", "50ms"];
        let shape = |device: &str, how: &[&str]| {
            let added = Command::new("tc")
                .args(["-n", &self.between, "qdisc", "add", "dev", device])
                .args(how)
                .output();
            added.expect("starting tc: is iproute2 installed?").status.success()
        };
        let mut over = Disturbance { over: Arc::default(), thread: None };
        if devices.clone().all(|device| shape(&device, &netem)) {
            return (over, "delay of 5 ms, loss of 1 %");
        }
        assert!(devices.clone().all(|device| shape(&device, &narrow)), "the links can be made narrow");
        over.start(self.between.clone());
        (over, "20 Mbit/s, nothing arrives for 60 ms of each 300 ms (the kernel has no sch_netem)")
    }

    /// Has programs on both hosts reach the broker at this address, which is on loopback: there, too. The link has no
    /// part in that.
    pub fn reach(&self, broker: &str) {
        let address: SocketAddr = broker.parse().expect("a broker at an address of numbers");
        for host in &self.hosts {
            let listener = inside(host, || TcpListener::bind(address)).expect("the port is free there");
            relay(listener, move || TcpStream::connect(address), Arc::clone(&self.over));
        }
    }

    /// As [`Link::reach`], but what is sent between a host and the broker goes over the host's link.
    pub fn reach_over_link(&self, broker: &str) {
        let address: SocketAddr = broker.parse().expect("a broker at an address of numbers");
        for (index, host) in self.hosts.iter().enumerate() {
            let forwarder: SocketAddr =
                format!("{}:{}", via(index), address.port()).parse().expect("an address");
            let far = inside(&self.between, || TcpListener::bind(forwarder)).expect("the port is free there");
            relay(far, move || TcpStream::connect(address), Arc::clone(&self.over));
            let near = inside(host, || TcpListener::bind(address)).expect("the port is free there");
            let host = host.clone();
            relay(near, move || inside(&host, || TcpStream::connect(forwarder)), Arc::clone(&self.over));
        }
    }

    /// A listener on a host.
    pub fn listen(&self, host: usize, port: u16) -> TcpListener {
        inside(&self.hosts[host], || TcpListener::bind((self.addresses[host].as_str(), port)))
            .expect("a free port")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for namespace in self.hosts.iter().chain([&self.between]) {
            end_all(namespace);
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

/// Ends all that runs in a namespace, but for this process. What could not be made is not there.
fn end_all(namespace: &str) {
    let pids = Command::new("ip").args(["netns", "pids", namespace]).output();
    let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let own = std::process::id().cast_signed();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|&pid| pid != own) {
        // Fails where it has ended.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
    }
}

/// Links that are bad; good again when this is dropped, as far as packets vanish.
pub struct Disturbance {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Disturbance {
    /// Now and then, nothing is forwarded.
    fn start(&mut self, between: String) {
        let over = Arc::clone(&self.over);
        self.thread = Some(std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for (how, length) in [("add", 60), ("del", 240)] {
                    // Between hosts alone: what is sent to the forwarder itself, the broker's relay, arrives.
                    ip(&[
                        "-n",
                        &between,
                        "rule",
                        how,
                        "from",
                        "10.231.0.0/16",
                        "to",
                        "10.231.0.0/16",
                        "blackhole",
                    ]);
                    std::thread::sleep(Duration::from_millis(length));
                }
            }
        }));
    }
}

impl Drop for Disturbance {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs `ip`.
#[track_caller]
fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap_or_else(|error| {
        panic!("starting ip: {error}; is iproute2 installed? (Debian: apt-get install iproute2)")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {said}", args.join(" "));
}

/// Does something in a namespace, in a thread of its own. A socket that is made there stays there.
fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let enter = || {
        let namespace = std::fs::File::open(format!("/run/netns/{namespace}"))?;
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        act()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().expect("it does not panic"))
}

/// Hands what comes to `listener` on to what `connect` connects to, until it is over.
fn relay(
    listener: TcpListener,
    connect: impl Fn() -> io::Result<TcpStream> + Send + 'static,
    over: Arc<AtomicBool>,
) {
    listener.set_nonblocking(true).expect("a listener");
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let Ok((near, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            // Where the broker is away, the connection ends, as it would without a relay.
            let Ok(far) = connect() else { continue };
            near.set_nonblocking(false).expect("a socket");
            for (mut from, mut to) in [(copy(&near), copy(&far)), (copy(&far), copy(&near))] {
                std::thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                    let _ = from.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
}

fn copy(socket: &TcpStream) -> TcpStream {
    socket.try_clone().expect("a socket")
}
