//! Two hosts and the link between them, as network namespaces of this test. The link can be cut: then every packet
//! vanishes, and nobody is told.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// Two hosts, each in a namespace of its own, and a third namespace between them, which forwards. They are removed, with
/// all that runs in them, when this is dropped.
pub struct Link {
    /// The namespaces of the two hosts.
    pub hosts: [String; 2],
    /// The addresses of the two hosts.
    pub addresses: [&'static str; 2],
    between: String,
    over: Arc<AtomicBool>,
}

/// Each host's address, and that of the forwarder on its side.
const SIDES: [(&str, &str); 2] = [("10.231.1.1", "10.231.1.254"), ("10.231.2.1", "10.231.2.254")];

impl Link {
    /// Makes them.
    ///
    /// # Panics
    /// Without root, or without iproute2: says what is needed.
    pub fn make() -> Link {
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
            hosts: [name("a"), name("b")],
            addresses: [SIDES[0].0, SIDES[1].0],
            between: name("between"),
            over: Arc::default(),
        };
        for namespace in link.hosts.iter().chain([&link.between]) {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        for (side, (own, via)) in SIDES.into_iter().enumerate() {
            let (host, far) = (link.hosts[side].as_str(), format!("side{side}"));
            ip(&[
                "-n",
                host,
                "link",
                "add",
                "near",
                "type",
                "veth",
                "peer",
                "name",
                &far,
                "netns",
                &link.between,
            ]);
            for (namespace, device, address) in [(host, "near", own), (&link.between, &*far, via)] {
                ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", device]);
                ip(&["-n", namespace, "link", "set", device, "up"]);
            }
            ip(&["-n", host, "route", "add", "default", "via", via]);
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
        for address in self.addresses {
            ip(&["-n", &self.between, "route", how, "blackhole", &format!("{address}/32")]);
        }
    }

    /// Has programs on both hosts reach the broker at this address, which is on loopback: there, too. The link has no
    /// part in that.
    pub fn reach(&self, broker: &str) {
        let address: SocketAddr = broker.parse().expect("a broker at an address of numbers");
        for host in &self.hosts {
            let listener = inside(host, || TcpListener::bind(address)).expect("the port is free there");
            relay(listener, address, Arc::clone(&self.over));
        }
    }

    /// A listener on a host.
    pub fn listen(&self, host: usize, port: u16) -> TcpListener {
        inside(&self.hosts[host], || TcpListener::bind((self.addresses[host], port))).expect("a free port")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for namespace in self.hosts.iter().chain([&self.between]) {
            // What could not be made is not there.
            let pids = Command::new("ip").args(["netns", "pids", namespace]).output();
            let pids =
                pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let own = std::process::id().cast_signed();
                if pid != own {
                    let _ =
                        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
                }
            }
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
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

/// Hands what comes to `listener` on to `address`, until it is over.
fn relay(listener: TcpListener, address: SocketAddr, over: Arc<AtomicBool>) {
    listener.set_nonblocking(true).expect("a listener");
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let Ok((near, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            // Where the broker is away, the connection ends, as it would without a relay.
            let Ok(far) = TcpStream::connect(address) else { continue };
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
