//! What a Dockerfile's command may reach: the outside, through each program that there is for it, and the
//! caller's ssh agent.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::dockerfile::{build, context, listing, write};
use crate::inside::left_out;
use crate::server::{Reply, Request, Server};
use crate::support::Place;

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

/// The machine's address by which it goes outside; nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.123:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

fn goes_outside_through(program: &str) {
    if !Path::new("/dev/net/tun").exists() {
        return left_out("a network for RUN (there is no /dev/net/tun)", "it-root");
    }
    let is_there = Path::new("/usr/bin").join(program).exists();
    assert!(is_there, "{program} is not installed; run: scripts/test prepare");
    let Some(address) = own_address() else {
        return left_out("a network for RUN (this machine has none itself)", "it-root");
    };
    let answer = |_: &Request, _| Reply::new("from outside\n");
    let (outside, loopback) = (Server::start_at(address, answer), Server::start(answer));
    let (mut place, folder) = context(&[]);
    let path = path_with(&place, program);
    place.variables.push(("PATH".to_owned(), path));
    let get = |host: &str, port: u16| {
        format!(
            "exec 3<>/dev/tcp/{host}/{port} && printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3 && \
             while read -r line <&3; do echo \"got $line\"; done || echo refused\n"
        )
    };
    let text = format!(
        "FROM tiny\nSHELL [\"/bin/bash\", \"-c\"]\nRUN while read -r i d r; do echo \"route $d\"; done < \
         /proc/net/route; cat /etc/resolv.conf; {}; exit 7\n\
         FROM tiny\nSHELL [\"/bin/bash\", \"-c\"]\nRUN {}; exit 7\n",
        get(&address.to_string(), outside.port()).trim_end(),
        get("127.0.0.1", loopback.port()).trim_end(),
    );
    write(&folder, &[("Dockerfile", &text)]);
    let folder = folder.display().to_string();
    let run = |network: &[&str], target: &str| {
        let options = ["image", "build", "--no-cache", "--target", target, &folder];
        place.run("", &[network, &options].concat()).fails(1)
    };
    // The machine is reached as from another one.
    let ran = run(&[], "0");
    let server = if program == "pasta" { "169.254.1.1" } else { "10.0.2.3" };
    ran.says("route 00000000").says(&format!("nameserver {server}\n")).says("got from outside");
    let ran = run(&[], "1").says("refused");
    assert!(!ran.stderr.contains("got from outside"), "{}", ran.stderr);
    let ran = run(&["--network=none"], "0");
    assert!(!ran.stderr.contains("route 00000000"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("got from outside"), "{}", ran.stderr);
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
