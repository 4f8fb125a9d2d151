//! Repositories behind TLS: whom a machine trusts, and what it says of those whom it doesn't.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::Machine;
use super::fetch::nothing_is_left;
use crate::registry_trust::make_certificates;
use crate::support::{Ran, ran};

/// Serves the files below a folder by a certificate, and says by which port.
const SERVER: &str = r#"
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("server.pem", "server.key")
server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A machine with a repository beside it, which is served until the test ends.
struct Served {
    machine: Machine,
    server: Child,
    port: u16,
}

impl Served {
    /// The certificate is good for so many days.
    fn start(days: &str) -> Self {
        let machine = Machine::new();
        machine.offer("a--1", "{}", &["bin/a"]);
        make_certificates(&machine.path(""), days);
        let mut server = Command::new("python3")
            .args(["-c", SERVER, "remote"])
            .current_dir(machine.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is missing; run: scripts/test prepare");
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { machine, server, port: line.trim().parse().unwrap() }
    }

    /// Fetches from it by a name, CAs being those in a file.
    fn fetch(&self, name: &str, authorities: &str) -> Ran {
        let url = format!("https://{name}:{}", self.port);
        let mut command = self.machine.command(&["fetch", "--repository-url", &url, "a--1"]);
        ran(&command.env("SSL_CERT_FILE", self.machine.path(authorities)).output().unwrap())
    }

    #[track_caller]
    fn refuses(&self, name: &str, authorities: &str, why: &str, hint: &str) {
        let ran = self.fetch(name, authorities).fails(1).says("certificate").says(why).says(hint);
        let url = format!("https://{name}:{}/packages/a/a--1.tar.xz", self.port);
        assert!(ran.stderr.contains(&url) && ran.stdout == "\rFetching: a--1\n", "{ran:?}");
        assert_eq!(self.machine.says(&["list"]), "");
        nothing_is_left(&self.machine);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

#[test]
fn a_repository_with_a_ca_of_its_own_is_trusted_if_that_is_said() {
    let served = Served::start("2");
    // Somebody's, but not this server's.
    std::fs::create_dir(served.machine.path("others")).unwrap();
    make_certificates(&served.machine.path("others"), "2");
    served.refuses("127.0.0.1", "others/ca.pem", "invalid peer", "SSL_CERT_FILE");
    served.refuses("127.0.0.1", "none.pem", "No CA certificates were loaded", "SSL_CERT_FILE");
    served.refuses("localhost", "ca.pem", "localhost", "the name that it is for");
    assert_eq!(
        served.fetch("127.0.0.1", "ca.pem").ok().stdout,
        "\rFetching: a--1\rFetched: a--1\n"
    );
    assert_eq!(served.machine.read("repo/a--1/bin/a"), "a--1 bin/a\n");
}

#[test]
fn a_certificate_that_has_expired_is_called_so() {
    let served = Served::start("-1");
    served.refuses("127.0.0.1", "ca.pem", "Expired", "has to be renewed");
}
