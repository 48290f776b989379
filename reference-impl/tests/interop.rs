//! Mail to and from other implementations, over real sockets, in the clear and
//! under TLS: Python's smtplib as a client, a small server in Python, and
//! Postfix and Exim in between where they are installed (and where this runs
//! as root, for they want that).
//!
//! What cannot run here is listed as ignored, with the reason in its name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use mailproof_node::driver;
use simple_dns::rdata::{A, MX, RData};
use simple_dns::{CLASS, Name, Packet, QTYPE, ResourceRecord, TYPE};

/// Longest wait for anything; only a failing test gets there.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "--node") {
        let config = PathBuf::from(words.next().expect("a configuration"));
        return match driver::main(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ExitCode::from(error.code()),
        };
    }
    let arguments = Arguments::from_args();
    let trial = |name: &str, reason: Option<&str>, run: fn() -> Result<(), Failed>| match reason {
        None => Trial::test(name, run),
        Some(reason) => Trial::test(format!("{name} ({reason})"), run).with_ignored_flag(true),
    };
    let python = (!works("python3", "--version")).then_some("python3 is not installed");
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    let needs = |found: bool, missing: &'static str| match python {
        Some(reason) => Some(reason),
        None if !found => Some(missing),
        None if !root => Some("needs root"),
        None => None,
    };
    let postfix = needs(works("postconf", "-d"), "Postfix is not installed");
    let exim = needs(works("exim4", "-bV"), "Exim is not installed");
    let trials = vec![
        trial("what_is_no_tls_ends_the_session", None, no_tls),
        trial("python_in_the_clear", python, || {
            python_both_ways(false, false)
        }),
        trial("python_under_tls", python, || python_both_ways(true, false)),
        trial("python_in_chunks", python, || python_both_ways(false, true)),
        trial("python_user_relays_after_auth", python, python_user),
        trial("python_by_mx_records", python, python_by_mx),
        trial("postfix_in_the_clear", postfix, || {
            in_between(Mta::Postfix, false)
        }),
        trial("postfix_under_tls", postfix, || {
            in_between(Mta::Postfix, true)
        }),
        trial("exim_in_the_clear", exim, || in_between(Mta::Exim, false)),
        trial("exim_under_tls", exim, || in_between(Mta::Exim, true)),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn works(program: &str, argument: &str) -> bool {
    let run = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tls(file: &str) -> String {
    here("tests/tls").join(file).display().to_string()
}

/// A port that nothing listens on at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Waits for a greeting.
fn greeted(port: u16) {
    let until = Instant::now() + LIMIT;
    loop {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_ok() && line.starts_with("220") {
                let _ = (&stream).write_all(b"QUIT\r\n");
                return;
            }
        }
        assert!(Instant::now() < until, "nobody greets at port {port}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node.
struct Node {
    port: u16,
    _dir: tempfile::TempDir,
    _process: Process,
}

impl Node {
    fn start(lines: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let config = dir.path().join("node.toml");
        let text = format!(
            "name = \"node.test\"\nlisten = \"127.0.0.1:{port}\"\nstore = {:?}\n\
             segment-bytes = \"1 MiB\"\ntest-times = true\nretry-interval = \"200 ms\"\n\
             retry-steps = [\"200 ms\"]\n{lines}",
            dir.path().join("store")
        );
        std::fs::write(&config, text).expect("the configuration is written");
        let exe = std::env::current_exe().expect("this program");
        let child = Command::new(exe)
            .arg("--node")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the node starts");
        let node = Self {
            port,
            _dir: dir,
            _process: Process(child),
        };
        greeted(port);
        node
    }
}

fn route(port: u16, tls: bool) -> String {
    let policy = if tls {
        "tls = \"verified\", tls-name = \"localhost\"".to_owned()
    } else {
        "tls = \"never\"".to_owned()
    };
    format!("routes = [{{ domain = \"*\", next-hops = [\"127.0.0.1:{port}\"], {policy} }}]\n")
}

fn certificate() -> String {
    format!(
        "tls-certificate = {:?}\ntls-key = {:?}\n",
        tls("server.pem"),
        tls("server.key")
    )
}

fn roots() -> String {
    format!("tls-roots = {:?}\n", tls("roots.pem"))
}

const RELAY: &str = "relay-from = [\"127.0.0.0/8\"]\n";

/// The server in Python: prints a line for each message.
struct Sink {
    port: u16,
    lines: mpsc::Receiver<serde_json::Value>,
    _process: Process,
}

impl Sink {
    fn start(secure: bool) -> Self {
        let mut command = Command::new("python3");
        command.arg(here("../fixtures/peers/pysink.py"));
        if secure {
            command.args(["--certificate", &tls("server.pem")]).args([
                "--key",
                &tls("server.key"),
                "--required",
            ]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sink starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut first = String::new();
        out.read_line(&mut first).expect("its first line");
        let port = first.trim().parse().expect("a port");
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str(&line) else {
                    return;
                };
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        Self {
            port,
            lines,
            _process: Process(child),
        }
    }

    /// Waits for messages with these names and for one DSN, and checks them.
    fn expect(&self, secure: bool, through: &str) {
        let mut due: BTreeSet<&str> = ["plain", "dots", "large", "mixed", "report"].into();
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        while !due.is_empty() {
            let taken = self.lines.recv_timeout(LIMIT);
            let taken = taken.unwrap_or_else(|_| panic!("{due:?} did not come, {found:?} did"));
            assert_eq!(taken["tls"], secure, "{taken}");
            let content = taken["content"].as_str().expect("content");
            let content = String::from_utf8(decode(content)).expect("UTF-8");
            let name = if taken["from"] == "" {
                assert!(content.contains("report-type=delivery-status"), "{content}");
                assert!(content.contains("no@d.test"), "{content}");
                assert_eq!(taken["to"][0], "sender@client.test");
                "report".to_owned()
            } else {
                let (_, rest) = content.split_once("X-Interop: ").expect("our field");
                let name = rest.lines().next().expect("a line").to_owned();
                assert!(content.contains(through), "{content}");
                assert_eq!(taken["to"], serde_json::json!(["r@d.test"]));
                let (_, body) = content.split_once("\r\n\r\n").expect("a body");
                let sent = body_of(&name);
                let (got, due) = (body.len(), sent.len());
                assert!(
                    body == sent,
                    "the body of {name}: {got} bytes, {due} were sent"
                );
                name
            };
            assert!(due.remove(name.as_str()), "{name} came twice");
            found.insert(name, String::new());
        }
    }
}

/// What pysend.py sends under a name.
fn body_of(name: &str) -> String {
    match name {
        "plain" => "Hello\r\n".to_owned(),
        "dots" => ".\r\n..\r\n.x\r\n\r\nend\r\n".to_owned(),
        "large" => format!("{}\r\n", "äöü".repeat(20)).repeat(2_500),
        "mixed" => "x\r\n".to_owned(),
        other => panic!("nothing is sent as {other}"),
    }
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("base64")
}

/// Sends the four messages with Python's smtplib.
fn send(port: u16, arguments: &[&str]) -> Result<(), Failed> {
    let out = Command::new("python3")
        .arg(here("../fixtures/peers/pysend.py"))
        .args(["127.0.0.1", &port.to_string()])
        .args(arguments)
        .output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        return Err(format!("pysend.py: {why}\n{said}").into());
    }
    assert_eq!(said.lines().count(), 4, "{said}");
    Ok(())
}

/// smtplib, this node, the server in Python.
fn python_both_ways(secure: bool, chunks: bool) -> Result<(), Failed> {
    let sink = Sink::start(secure);
    let mut lines = route(sink.port, secure) + RELAY;
    let mut arguments = Vec::new();
    let file = tls("roots.pem");
    if secure {
        lines += &certificate();
        lines += &roots();
        arguments.extend(["--roots", &file]);
    }
    if chunks {
        arguments.push("--chunks");
    }
    let node = Node::start(&lines);
    send(node.port, &arguments)?;
    sink.expect(secure, "by node.test");
    Ok(())
}

/// Bytes that are no TLS end the session they come in, and no other.
fn no_tls() -> Result<(), Failed> {
    let node = Node::start(&certificate());
    for junk in [
        &b"EHLO me\r\nMAIL FROM:<a@b>\r\n"[..],
        &[0; 100],
        &[0xff; 20_000],
    ] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, node.port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let mut expect = |code: &str| {
            loop {
                let line = lines.next().expect("a reply").expect("a line");
                assert!(line.starts_with(code), "{line}");
                if line.as_bytes()[3] == b' ' {
                    return;
                }
            }
        };
        expect("220");
        stream.write_all(b"EHLO c\r\n")?;
        expect("250");
        stream.write_all(b"STARTTLS\r\n")?;
        expect("220");
        // It may be closed before all of it is taken.
        let _ = stream.write_all(junk);
        // Nothing but an alert comes, and then the end.
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        assert!(!rest.starts_with(b"250"), "{rest:?}");
        greeted(node.port);
    }
    Ok(())
}

/// Only users may relay, and only under TLS.
fn python_user() -> Result<(), Failed> {
    let sink = Sink::start(false);
    let users = tempfile::NamedTempFile::new()?;
    let line = driver::user_line("ann", "a secret").expect("a line");
    std::fs::write(users.path(), format!("# users\n{line}\n"))?;
    let lines = format!(
        "{}{}users = {:?}\n",
        route(sink.port, false),
        certificate(),
        users.path()
    );
    let node = Node::start(&lines);
    let roots = tls("roots.pem");
    send(node.port, &["--roots", &roots, "--user", "ann", "a secret"])?;
    sink.expect(false, "with ESMTPSA");
    assert!(send(node.port, &[]).is_err(), "nobody else may relay");
    Ok(())
}

/// The next hop is found by asking a name server.
fn python_by_mx() -> Result<(), Failed> {
    let sink = Sink::start(false);
    let names = UdpSocket::bind("127.0.0.1:0")?;
    let at: SocketAddr = names.local_addr()?;
    // It ends with the process.
    thread::spawn(move || answer_names(&names));
    let lines = format!(
        "resolvers = [\"{at}\"]\nroutes = [{{ domain = \"*\", mx = true, port = {} }}]\n{RELAY}",
        sink.port
    );
    let node = Node::start(&lines);
    send(node.port, &[])?;
    sink.expect(false, "by node.test");
    Ok(())
}

/// Every domain has one mail exchanger, `sink.test`, and that is here.
fn answer_names(socket: &UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((n, from)) = socket.recv_from(&mut buffer) {
        let Ok(asked) = Packet::parse(&buffer[..n]) else {
            continue;
        };
        let Some(question) = asked.questions.first() else {
            continue;
        };
        let mut reply = Packet::new_reply(asked.id());
        reply.questions.push(question.clone());
        let data = match question.qtype {
            QTYPE::TYPE(TYPE::MX) => Some(RData::MX(MX {
                preference: 10,
                exchange: Name::new_unchecked("sink.test"),
            })),
            QTYPE::TYPE(TYPE::A) => Some(RData::A(A {
                address: Ipv4Addr::LOCALHOST.to_bits(),
            })),
            _ => None,
        };
        if let Some(data) = data {
            let record = ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, data);
            reply.answers.push(record);
        }
        if let Ok(bytes) = reply.build_bytes_vec() {
            let _ = socket.send_to(&bytes, from);
        }
    }
}

/// Another MTA.
#[derive(Clone, Copy)]
enum Mta {
    Postfix,
    Exim,
}

/// smtplib, a node, the other MTA, a second node, the server in Python: so
/// the other one is both the node's next hop and its client.
fn in_between(mta: Mta, secure: bool) -> Result<(), Failed> {
    let sink = Sink::start(false);
    let mut last = route(sink.port, false) + RELAY;
    if secure {
        last += &certificate();
    }
    let last = Node::start(&last);
    let other = Other::start(mta, last.port, secure)?;
    let mut first = route(other.port, secure) + RELAY;
    if secure {
        first += &roots();
    }
    let first = Node::start(&first);
    send(first.port, &[])?;
    // The second node saw the other MTA's session, under TLS where that was
    // asked for.
    let trace = if secure {
        "by node.test with ESMTPS id"
    } else {
        "by node.test with ESMTP id"
    };
    sink.expect(false, trace);
    Ok(())
}

/// A running MTA of another make.
struct Other {
    mta: Mta,
    port: u16,
    dir: tempfile::TempDir,
    process: Option<Process>,
}

impl Other {
    fn start(mta: Mta, next: u16, secure: bool) -> Result<Self, Failed> {
        let dir = tempfile::Builder::new().prefix("mta").tempdir()?;
        open_to_all(dir.path())?;
        // Not every user may read where this project lies.
        for file in ["server.pem", "server.key", "roots.pem"] {
            let copy = dir.path().join(file);
            std::fs::copy(tls(file), &copy)?;
            open_to_all(&copy)?;
        }
        let port = free_port();
        let mut other = Self {
            mta,
            port,
            dir,
            process: None,
        };
        match mta {
            Mta::Postfix => other.postfix(next, secure)?,
            Mta::Exim => other.exim(next, secure)?,
        }
        greeted(port);
        Ok(other)
    }

    fn postfix(&mut self, next: u16, secure: bool) -> Result<(), Failed> {
        let config = self.dir.path().join("etc");
        let queue = self.dir.path().join("queue");
        let data = self.dir.path().join("data");
        for dir in [&config, &queue, &data] {
            std::fs::create_dir(dir)?;
        }
        let chown = Command::new("chown").arg("postfix").arg(&data).status()?;
        assert!(chown.success());
        let (log, port) = (self.dir.path().join("log"), self.port);
        let mut main = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\n\
             maillog_file = {}\nmaillog_file_prefixes = {}\nmyhostname = postfix.test\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmydestination =\n\
             mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks,reject\n\
             relayhost = [127.0.0.1]:{next}\nsmtp_dns_support_level = disabled\n\
             alias_maps =\nalias_database =\nsmtputf8_enable = no\n\
             minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n",
            queue.display(),
            data.display(),
            log.display(),
            self.dir.path().display(),
        );
        if secure {
            main += &format!(
                "smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {}\n\
                 smtpd_tls_key_file = {}\nsmtp_tls_security_level = secure\n\
                 smtp_tls_secure_cert_match = localhost\nsmtp_tls_CAfile = {}\n",
                self.file("server.pem"),
                self.file("server.key"),
                self.file("roots.pem")
            );
        }
        std::fs::write(config.join("main.cf"), main)?;
        let system = Command::new("postconf")
            .args(["-dh", "config_directory"])
            .output()?;
        let system = String::from_utf8(system.stdout)?;
        std::fs::copy(
            Path::new(system.trim()).join("master.cf"),
            config.join("master.cf"),
        )?;
        self.postconf(&config, &["-MX", "smtp/inet"])?;
        self.postconf(
            &config,
            &[
                "-Me",
                &format!("127.0.0.1:{port}/inet=127.0.0.1:{port} inet n - n - - smtpd"),
            ],
        )?;
        self.postconf(&config, &["-F", "*/*/chroot=n"])?;
        let started = Command::new("postfix")
            .arg("-c")
            .arg(&config)
            .arg("start")
            .output()?;
        if !started.status.success() {
            return Err(
                format!("{}{}", String::from_utf8_lossy(&started.stderr), self.log()).into(),
            );
        }
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn postconf(&self, config: &Path, words: &[&str]) -> Result<(), Failed> {
        let out = Command::new("postconf")
            .arg("-c")
            .arg(config)
            .args(words)
            .output()?;
        if out.status.success() {
            Ok(())
        } else {
            Err(format!(
                "postconf {words:?}: {}",
                String::from_utf8_lossy(&out.stderr)
            )
            .into())
        }
    }

    fn exim(&mut self, next: u16, secure: bool) -> Result<(), Failed> {
        let spool = self.dir.path().join("spool");
        std::fs::create_dir(&spool)?;
        open_to_all(&spool)?;
        let (config, port) = (self.dir.path().join("exim.conf"), self.port);
        let listen = if secure {
            format!(
                "tls_advertise_hosts = *\ntls_certificate = {}\ntls_privatekey = {}\n",
                self.file("server.pem"),
                self.file("server.key")
            )
        } else {
            "tls_advertise_hosts =\n".to_owned()
        };
        let out = if secure {
            format!(
                "hosts_require_tls = *\n tls_verify_certificates = {}\n tls_try_verify_hosts =\n \
                 tls_verify_hosts = *\n tls_verify_cert_hostnames =\n",
                self.file("roots.pem")
            )
        } else {
            "hosts_avoid_tls = *\n".to_owned()
        };
        let text = format!(
            "primary_hostname = exim.test\nspool_directory = {spool}\nlog_file_path = {dir}/%slog\n\
             daemon_smtp_ports = {port}\nlocal_interfaces = <; 127.0.0.1\nacl_smtp_rcpt = acc\n\
             acl_smtp_data = acc\nhost_lookup =\nrfc1413_hosts =\nkeep_environment =\n\
             pid_file_path = {dir}/pid\ndeliver_drop_privilege\n{listen}\
             begin acl\nacc:\n accept\n\
             begin routers\nsmart:\n driver = manualroute\n domains = *\n transport = out\n \
             route_list = * 127.0.0.1 byname\n self = send\n\
             begin transports\nout:\n driver = smtp\n port = {next}\n allow_localhost\n {out}\
             begin retry\n* * F,2h,1s\n",
            spool = spool.display(),
            dir = self.dir.path().display(),
        );
        std::fs::write(&config, text)?;
        let log = std::fs::File::create(self.dir.path().join("stderr"))?;
        let child = Command::new("exim4")
            .arg("-C")
            .arg(&config)
            .args(["-bdf", "-q1s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.process = Some(Process(child));
        Ok(())
    }

    /// What it wrote, for a failing test.
    fn log(&self) -> String {
        let mut text = String::new();
        for name in ["log", "mainlog", "paniclog", "stderr"] {
            if let Ok(part) = std::fs::read_to_string(self.dir.path().join(name)) {
                text += &part;
            }
        }
        text
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if matches!(self.mta, Mta::Postfix) {
            let config = self.dir.path().join("etc");
            let _ = Command::new("postfix")
                .arg("-c")
                .arg(config)
                .arg("abort")
                .stderr(Stdio::null())
                .status();
        }
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// An MTA works as several users.
fn open_to_all(dir: &Path) -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777))?;
    Ok(())
}
