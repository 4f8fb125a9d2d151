//! What a Dockerfile's command may reach: the outside, through each program that there is for it, and the
//! caller's ssh agent.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::dockerfile::{build, context, listing, write};
use crate::inside::{left_out, tier};
use crate::support::{Place, Ran, ran};

/// A search path with one program for networks, and what else is needed of it.
fn path_with(place: &Place, program: &str) -> String {
    let folder = place.path().join(format!("bin-{program}"));
    std::fs::create_dir(&folder).unwrap();
    for name in ["newuidmap", "newgidmap", program] {
        let found = Path::new("/usr/bin").join(name);
        if found.exists() {
            std::os::unix::fs::symlink(found, folder.join(name)).unwrap();
        }
    }
    folder.display().to_string()
}

/// What answers in a namespace of its own: at an address that is none of the loopback's, and at one that is.
/// Nobody else reaches it, as both are the namespace's loopback interface's.
const ELSEWHERE: &str = r#"
import http.server, socketserver, subprocess, sys, threading
for line in ("link set lo up", "address add 192.0.2.1/32 dev lo", "tuntap add dev outside mode tap",
             "address add 198.51.100.1/24 dev outside", "link set outside up",
             "route add default via 198.51.100.254"):
    subprocess.run(["ip", *line.split()], check=True)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from outside\n")
    def log_message(self, *_):
        pass
for address in ("192.0.2.1", "127.0.0.1"):
    server = socketserver.ThreadingTCPServer((address, 8000), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"#;

/// A network namespace with servers in it, until it is dropped.
struct Elsewhere(Child);

impl Elsewhere {
    fn start() -> Self {
        let mut command = Command::new("unshare");
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        if !is_root() && tier() == "ranges" {
            command.arg("--map-auto");
        }
        command.args(["--net", "/usr/bin/python3", "-c", ELSEWHERE]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("there is unshare");
        let mut said = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the namespace can't be set up");
        Self(child)
    }

    /// Runs mkpanda in the namespace, where an ordinary user is root, of the same ids.
    fn run(&self, place: &Place, arguments: &[&str]) -> Ran {
        let inner = place.command("", arguments);
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["--net", "--target", &self.0.id().to_string()]);
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(inner.get_program()).args(inner.get_args());
        let given =
            |(name, value): (&OsStr, Option<&OsStr>)| Some((name.to_owned(), value?.to_owned()));
        command.env_clear().envs(inner.get_envs().filter_map(given));
        command.current_dir(inner.get_current_dir().unwrap()).stdin(Stdio::null());
        ran(&command.output().unwrap())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn goes_outside_through(program: &str) {
    if !Path::new("/dev/net/tun").exists() {
        return left_out("a network for RUN (there is no /dev/net/tun)", "it-root");
    }
    let is_there = Path::new("/usr/bin").join(program).exists();
    assert!(is_there, "{program} is not installed; run: scripts/test prepare");
    let elsewhere = Elsewhere::start();
    let (mut place, folder) = context(&[]);
    let path = path_with(&place, program);
    place.variables.push(("PATH".to_owned(), path));
    let get = |host: &str| {
        format!(
            "exec 3<>/dev/tcp/{host}/8000 && printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3 && \
             while read -r line <&3; do echo \"got $line\"; done || echo refused\n"
        )
    };
    let text = format!(
        "FROM tiny\nSHELL [\"/bin/bash\", \"-c\"]\nRUN while read -r i d r; do echo \"route $d\"; done < \
         /proc/net/route; cat /etc/resolv.conf; {}; exit 7\n\
         FROM tiny\nSHELL [\"/bin/bash\", \"-c\"]\nRUN {}; exit 7\n",
        get("192.0.2.1").trim_end(),
        get("127.0.0.1").trim_end(),
    );
    write(&folder, &[("Dockerfile", &text)]);
    let folder = folder.display().to_string();
    let run = |network: &[&str], target: &str| {
        let options = ["image", "build", "--no-cache", "--target", target, &folder];
        elsewhere.run(&place, &[network, &options].concat()).fails(1)
    };
    // The machine is reached as from another one.
    let ran = run(&[], "0");
    let server = if program == "pasta" { "169.254.1.1" } else { "10.0.2.3" };
    ran.says(&format!("isolation: {}", tier()))
        .says("route 00000000")
        .says(&format!("nameserver {server}\n"))
        .says("got from outside");
    let ran = run(&[], "1").says("refused");
    assert!(!ran.stderr.contains("got from outside"), "{}", ran.stderr);
    let ran = run(&["--network=none"], "0");
    assert!(!ran.stderr.contains("route 00000000"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("got from outside"), "{}", ran.stderr);
    // So the servers are there.
    run(&["--network=host"], "1").says("got from outside");
    place.assert_clean();
}

#[test]
fn a_command_goes_outside_through_pasta_but_not_to_the_machines_loopback() {
    goes_outside_through("pasta");
}

#[test]
fn a_command_goes_outside_through_slirp4netns_but_not_to_the_machines_loopback() {
    goes_outside_through("slirp4netns");
}

/// An agent with one key, until it is dropped.
struct Agent(Child);

impl Agent {
    fn start(folder: &Path) -> (Self, String) {
        let socket = folder.join("agent-socket").display().to_string();
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-a", &socket]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("ssh-agent is missing; run: scripts/test prepare");
        let agent = Self(child);
        let until = Instant::now() + Duration::from_secs(30);
        while !Path::new(&socket).exists() {
            assert!(Instant::now() < until, "the agent doesn't listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        let key = folder.join("key").display().to_string();
        let run = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            let output = command.args(arguments).env("SSH_AUTH_SOCK", &socket).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "key-of-the-test", "-f", &key]);
        run("ssh-add", &["-q", &key]);
        (agent, socket)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Copies a program, and what it is linked with, to the same places below a folder.
fn copy_with_libraries(program: &str, root: &Path) {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let to = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
}

#[test]
fn a_command_asks_the_callers_ssh_agent() {
    let ask = "ssh-add -l";
    let text = format!(
        "FROM tiny\nCOPY root /\nRUN --mount=type=ssh,required {ask} | grep -c key-of-the-test > /count\n\
         RUN --mount=type=ssh,id=other,target=/s/agent,uid=1000,gid=1000,mode=0620 \
         [ -S /s/agent ] && busybox stat -c %a:%u:%g:$SSH_AUTH_SOCK /s/agent > /count2\n\
         USER builder\nRUN --mount=type=ssh,uid=1000 {ask} | grep -q key-of-the-test\n\
         RUN --mount=type=ssh,id=nobody [ -z \"$SSH_AUTH_SOCK\" ]\n"
    );
    let (mut place, folder) = context(&[("Dockerfile", &text)]);
    copy_with_libraries("/usr/bin/ssh-add", &folder.join("root"));
    let (agent, socket) = Agent::start(place.path());
    place.variables.push(("SSH_AUTH_SOCK".to_owned(), socket.clone()));
    let other = format!("--ssh=other={socket}");
    build(&place, &folder, &["--ssh=default", &other]).ok();
    let lines = listing(&place);
    let made = lines.iter().filter(|line| ["lib", "usr"].iter().all(|name| !line.contains(name)));
    let made: Vec<&String> = made.collect();
    assert_eq!(made, ["-rw-r--r-- 0/0 count", "-rw-r--r-- 0/0 count2"]);
    let show = "FROM test\nRUN cat /count /count2; exit 7\n";
    write(&folder, &[("Show", show)]);
    let file = folder.join("Show").display().to_string();
    let ran = build(&place, &folder, &["-f", &file]).fails(1);
    ran.says("| 1\n").says("| 620:").says(":/s/agent\n");
    build(&place, &folder, &["--no-cache"]).fails(1).says("give it: --ssh default=SOCKET");
    drop(agent);
    let ran = build(&place, &folder, &["--no-cache", "--ssh=default"]).fails(1);
    ran.says("Dockerfile:3: RUN").says("doesn't answer").says("ssh-add");
    place.assert_clean();
}
