use super::test_server::{ClosedAddress, Request, ServerAction, TestServer, answer, ok};
use super::*;
use crate::base::event::{Event, Silent};
use crate::base::events::Events;

fn options() -> HttpOptions {
    HttpOptions {
        attempts: 3,
        stall_timeout: Duration::from_millis(300),
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(5),
        ..HttpOptions::default()
    }
}

fn get(url: &str, observer: &dyn Observer) -> Result<(Vec<u8>, Downloaded), HttpError> {
    let mut file = tempfile::tempfile().unwrap();
    let done = HttpClient::new(options()).download(url, "p/s", &mut file, observer)?;
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content.len() as u64, done.bytes);
    Ok((content, done))
}

const BODY: &[u8] = b"0123456789";

/// Half of [`BODY`], then the connection closes.
fn half(etag: &str) -> Vec<ServerAction> {
    answer(&format!("200 OK\r\nETag: {etag}\r\nContent-Length: 10"), &BODY[..5])
}

#[test]
fn passing_failures_are_retried() {
    let server = TestServer::start(|number, _| match number {
        0 => answer("503 Busy\r\nContent-Length: 0", b""),
        1 => answer("429 Slow\r\nContent-Length: 0\r\nRetry-After: 0", b""),
        _ => ok(BODY),
    });
    let seen = Events::default();
    assert_eq!(get(&server.url("/f"), &seen).unwrap().0, BODY);
    assert_eq!(seen.retries().len(), 2);
    let events = seen.0.into_inner().unwrap();
    let last = Event::Download {
        subject: "p/s".to_owned(),
        url: server.url("/f"),
        done: 10,
        total: Some(10),
    };
    assert_eq!(events[events.len() - 2], last);
    assert_eq!(events[events.len() - 1], Event::TransferEnded { subject: "p/s".to_owned() });
}

#[test]
fn a_short_body_is_taken_up_where_it_broke_off() {
    let server = TestServer::start(|number, _| match number {
        0 => half("\"a\""),
        _ => answer("206 P\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5", &BODY[5..]),
    });
    let seen = Events::default();
    let (content, done) = get(&server.url("/f"), &seen).unwrap();
    assert_eq!((content.as_slice(), done.resumed), (BODY, true));
    let second = &server.requests()[1];
    assert_eq!(second.header("range"), Some("bytes=5-"));
    assert_eq!(second.header("if-range"), Some("\"a\""));
    assert!(seen.retries()[0].contains("5 of 10 bytes"), "{:?}", seen.retries());
}

#[test]
fn another_file_or_range_makes_it_start_over() {
    let whole = |_: &Request| ok(BODY);
    let other_range = |_: &Request| {
        answer("206 P\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6", b"456789")
    };
    let other_length = |_: &Request| {
        answer("206 P\r\nContent-Range: bytes 5-10/11\r\nContent-Length: 6", b"xxxxxx")
    };
    let other_etag = |_: &Request| {
        answer("206 P\r\nETag: \"b\"\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5", b"xxxxx")
    };
    let refused = |_: &Request| answer("416 No\r\nContent-Length: 0", b"");
    let bad = |_: &Request| answer("400 No\r\nContent-Length: 0", b"");
    let forbidden = |_: &Request| answer("403 No\r\nContent-Length: 0", b"");
    let unknown = |_: &Request| answer("501 No\r\nContent-Length: 0", b"");
    let seconds = [whole, other_range, other_length, other_etag, refused, bad, forbidden, unknown];
    for second in seconds {
        let server = TestServer::start(move |number, request| match number {
            0 => half("\"a\""),
            1 => second(request),
            _ => {
                assert_eq!(request.header("range"), None);
                ok(BODY)
            }
        });
        let (content, done) = get(&server.url("/f"), &Silent).unwrap();
        assert_eq!((content.as_slice(), done.resumed), (BODY, false));
    }
}

#[test]
fn ranges_that_only_cause_errors_are_given_up() {
    let server = TestServer::start(move |number, request| match number {
        0 => half("\"a\""),
        _ if request.header("range").is_some() => answer("500 No\r\nContent-Length: 0", b""),
        _ => ok(BODY),
    });
    let options =
        HttpOptions { attempts: 4, first_wait: Duration::from_millis(1), ..HttpOptions::default() };
    let mut file = tempfile::tempfile().unwrap();
    let client = HttpClient::new(options);
    let done = client.download(&server.url("/f"), "p/s", &mut file, &Silent).unwrap();
    assert_eq!((done.bytes, done.resumed), (10, false));
    // A file that has gone meanwhile is gone.
    let server = TestServer::start(|number, _| match number {
        0 => half("\"a\""),
        _ => answer("404 No\r\nContent-Length: 0", b""),
    });
    let error = get(&server.url("/f"), &Silent).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}

#[test]
fn without_a_strong_validator_nothing_is_taken_up() {
    let server = TestServer::start(|number, request| {
        assert_eq!(request.header("range"), None);
        if number == 0 { half("W/\"a\"") } else { ok(BODY) }
    });
    assert_eq!(get(&server.url("/f"), &Silent).unwrap().0, BODY);
}

#[test]
fn a_stall_is_noticed() {
    let server = TestServer::start(|number, _| {
        let mut steps = half("\"a\"");
        if number == 0 {
            steps.push(ServerAction::Stall(Duration::from_secs(5)));
            return steps;
        }
        ok(BODY)
    });
    let seen = Events::default();
    assert_eq!(get(&server.url("/f"), &seen).unwrap().0, BODY);
    assert!(seen.retries()[0].contains("nothing came for 0.3 s"), "{:?}", seen.retries());
}

#[test]
fn a_slow_but_steady_server_is_no_stall() {
    let server = TestServer::start(|_, _| {
        let mut steps = answer("200 OK\r\nContent-Length: 10", b"");
        for byte in BODY {
            steps.extend([
                ServerAction::Stall(Duration::from_millis(50)),
                ServerAction::Send(vec![*byte]),
            ]);
        }
        steps
    });
    let seen = Events::default();
    assert_eq!(get(&server.url("/f"), &seen).unwrap().0, BODY);
    assert!(seen.retries().is_empty(), "{:?}", seen.retries());
}

#[test]
fn lasting_answers_are_not_retried() {
    for status in [401, 403, 404, 501] {
        let server =
            TestServer::start(move |_, _| answer(&format!("{status} X\r\nContent-Length: 0"), b""));
        let url = server.url("/f").replace("http://", "http://me:secret@");
        let error = get(&url, &Silent).unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert_eq!(error.is_not_found(), status == 404);
        assert_eq!(server.requests().len(), 1);
        assert!(server.requests()[0].header("authorization").is_some());
    }
}

#[test]
fn it_gives_up_and_says_why() {
    let server = TestServer::start(|_, _| half("\"a\""));
    let error = get(&server.url("/f"), &Silent).unwrap_err();
    assert!(error.to_string().contains("attempt 3, the last"), "{error}");
    assert_eq!(server.requests().len(), 3);
    let error = get("http://127.0.0.1:1/f", &Silent).unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(matches!(get("ftp://x/f", &Silent), Err(HttpError::Url { .. })));
}

#[test]
fn redirects_are_followed() {
    let server = TestServer::start(|_, request| match request.path.as_str() {
        "/f" => answer("302 Found\r\nLocation: /g\r\nContent-Length: 0", b""),
        "/g" => ok(BODY),
        _ => answer("301 Loop\r\nLocation: /loop\r\nContent-Length: 0", b""),
    });
    assert_eq!(get(&server.url("/f"), &Silent).unwrap().0, BODY);
    let error = get(&server.url("/loop"), &Silent).unwrap_err();
    assert!(matches!(error, HttpError::Refused { .. }), "{error}");
    assert!(
        error.to_string().contains("more than 30 times") && error.to_string().ends_with("/loop")
    );
    assert_eq!(server.requests().len(), 2 + 31);
}

#[test]
fn redirects_up_to_thirty_and_to_http_alone() {
    let server = TestServer::start(|_, request| {
        let left: u32 = request.path[1..].parse().unwrap_or(100);
        let to = |target: &str| {
            answer(&format!("307 x\r\nLocation: {target}\r\nContent-Length: 0"), b"")
        };
        match (request.path.as_str(), left) {
            ("/ftp", _) => to("ftp://u:secret@h/f"),
            ("/file", _) => to("file:///etc/passwd"),
            (_, 0) => ok(BODY),
            (_, left) => to(&format!("{}", left - 1)),
        }
    });
    assert_eq!(get(&server.url("/30"), &Silent).unwrap().0, BODY);
    assert!(get(&server.url("/31"), &Silent).is_err());
    for (path, shown) in [("/ftp", "leads to ftp://h/f"), ("/file", "leads to file:///etc/passwd")]
    {
        let error = get(&server.url(path), &Silent).unwrap_err().to_string();
        assert!(error.contains(shown) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn cookies_live_for_one_chain() {
    let server = TestServer::start(|_, request| {
        let cookie = request.header("cookie").unwrap_or_default();
        match request.path.as_str() {
            "/f" if cookie == "seen=1" => ok(BODY),
            "/f" => answer("302 x\r\nLocation: /f\r\nSet-Cookie: seen=1\r\nContent-Length: 0", b""),
            _ => answer(&format!("404 {cookie}\r\nContent-Length: 0"), b""),
        }
    });
    let client = HttpClient::new(options());
    for requests in [2, 4] {
        assert_eq!(client.get(&server.url("/f"), "p/s", 100, &Silent).unwrap(), BODY);
        assert_eq!(server.requests().len(), requests, "the next download begins without any");
    }
}

#[test]
fn credentials_go_to_no_server_that_the_first_one_leads_to() {
    let other = TestServer::start(|_, _| ok(BODY));
    let target = other.url("/g");
    let server = TestServer::start(move |_, request| match request.path.as_str() {
        "/there" => answer(&format!("302 x\r\nLocation: {target}\r\nContent-Length: 0"), b""),
        "/here" => answer("302 x\r\nLocation: /g\r\nContent-Length: 0", b""),
        _ => ok(BODY),
    });
    for (path, authorization) in [("/here", Some("Basic dTpw")), ("/there", None)] {
        let url = server.url(path).replace("http://", "http://u:p@");
        assert_eq!(get(&url, &Silent).unwrap().0, BODY);
        let last = if path == "/here" { server.requests() } else { other.requests() };
        assert_eq!(last.last().unwrap().header("authorization"), authorization, "{path}");
    }
}

#[test]
fn an_answer_from_a_proxy_that_changed_headers_is_one() {
    let server =
        TestServer::start(|_, _| answer("203 Changed\r\nContent-Length: 10\r\nVia: p", BODY));
    assert_eq!(get(&server.url("/f"), &Silent).unwrap().0, BODY);
    let client = HttpClient::new(options());
    assert_eq!(client.size(&server.url("/f"), "p/s", &Silent).unwrap(), Some(10));
}

#[test]
fn a_body_without_an_end_may_be_short() {
    let server = TestServer::start(|_, request| match request.path.as_str() {
        "/length" => ok(BODY),
        "/chunks" => {
            answer("200 OK\r\nTransfer-Encoding: chunked", b"a\r\n0123456789\r\n0\r\n\r\n")
        }
        _ => answer("200 OK", BODY),
    });
    for (path, may_be_short) in [("/length", false), ("/chunks", false), ("/none", true)] {
        let (content, done) = get(&server.url(path), &Silent).unwrap();
        assert_eq!((content.as_slice(), done.may_be_short), (BODY, may_be_short), "{path}");
    }
}

#[test]
fn endless_bodies_are_cut() {
    let server = TestServer::start(|_, request| match request.path.as_str() {
        "/said" => answer("200 OK\r\nContent-Length: 11", b"01234567890"),
        _ => answer("200 OK", b"01234567890"),
    });
    let client = HttpClient::new(options());
    for path in ["/said", "/unsaid"] {
        let error = client.get(&server.url(path), "p/s", 10, &Silent).unwrap_err();
        assert!(matches!(error, HttpError::TooLarge { limit: 10, .. }), "{error}");
    }
    assert_eq!(client.get(&server.url("/unsaid"), "p/s", 11, &Silent).unwrap().len(), 11);
}

#[test]
fn credentials_of_a_netrc_go_to_their_server_alone() {
    let folder = tempfile::tempdir().unwrap();
    let netrc = folder.path().join("netrc");
    fs_err::write(&netrc, "machine 127.0.0.1 login me password secret\n").unwrap();
    let client = HttpClient::new(HttpOptions { netrc: Some(netrc), ..HttpOptions::default() });
    let server = TestServer::start(|_, _| ok(b"x"));
    let authorization = |url: &str| {
        client.get(url, "p/s", 10, &Silent).unwrap();
        let request = server.requests().pop().unwrap();
        let value = request.header("authorization")?;
        value.strip_prefix("Basic ").map(str::to_owned)
    };
    let basic = Some("bWU6c2VjcmV0".to_owned());
    assert_eq!(authorization(&server.url("/a")), basic);
    let own = server.url("/a").replace("http://", "http://u:p@");
    assert_eq!(authorization(&own), Some("dTpw".to_owned()), "the URL's own go before");
    assert_eq!(authorization(&server.url("/a").replace("127.0.0.1", "localhost")), None);
    let login = |url: &str| client.login(&reqwest::Url::parse(url).unwrap()).is_some();
    assert!(login("https://127.0.0.1/"));
    let other = folder.path().join("other");
    fs_err::write(&other, "machine h.invalid login me password secret\n").unwrap();
    let client = HttpClient::new(HttpOptions { netrc: Some(other), ..HttpOptions::default() });
    let login = |url: &str| client.login(&reqwest::Url::parse(url).unwrap()).is_some();
    assert!(login("https://H.invalid:8443/x") && !login("http://h.invalid/x"));
    assert!(!login("https://x.h.invalid/") && !login("https://u@h.invalid/"));
    let logins = [("h.invalid".to_owned(), HttpLogin { name: "a".into(), password: "b".into() })];
    let client = HttpClient::new(HttpOptions { logins: logins.into(), ..HttpOptions::default() });
    let login = |url: &str| client.login(&reqwest::Url::parse(url).unwrap()).is_some();
    assert!(login("https://h.invalid/") && !login("http://h.invalid/"));
    assert!(!login("https://u@h.invalid/") && !login("https://x.invalid/"));
    let proxied = Proxies::from_variables(|name| {
        let value = match name {
            "HTTP_PROXY" => "h:1",
            "NO_PROXY" => "<-loopback>",
            _ => return None,
        };
        Some(value.into())
    });
    let options = HttpOptions { proxies: proxied, ..client.options().clone() };
    let client = HttpClient::new(HttpOptions {
        logins: [("127.0.0.1".to_owned(), HttpLogin::default())].into(),
        ..options
    });
    let url = reqwest::Url::parse("http://127.0.0.1/").unwrap();
    assert!(client.login(&url).is_none(), "the proxy would see it");
}

#[test]
fn credentials_are_not_shown() {
    for (text, shown) in [
        ("https://u:p@h:1/a@b?c=d", "https://h:1/a@b?c="),
        ("https://token@h", "https://h"),
        ("ssh://git:pw@h/x", "ssh://git@h/x"),
        ("git@h:x/y", "git@h:x/y"),
        ("http://h/://u:p@h/", "http://h/://u:p@h/"),
        ("http://u:it'sPW@h/ok.txt", "http://h/ok.txt"),
        ("http://u:\"a b\t<c>`@h/x?token='PW' x&y=a b#f", "http://h/x?token=&y=#f"),
        ("http:///u:p@h/x", "http://h/x"),
        ("http:/\\//u:p@h/x", "http:/\\//h/x"),
        ("http://u:p@h\\a", "http://h\\a"),
        ("file:///a@b?c=d", "file:///a@b?c="),
        ("https://h/a?secret", "https://h/a?"),
        // Mistyped, and read all the same by some.
        ("http:/u:p@h/x", "http:/h/x"),
        ("HTTPS:u:p@h/x?y=z", "HTTPS:h/x?y="),
        (r"http:\\u:p@h/x", r"http:\\h/x"),
        ("http://u:a/b@h/x", "http://h/x"),
        ("http://u:a/b@c/d@h:1/x", "http://h:1/x"),
        ("http://h:1/a@b", "http://h:1/a@b"),
        ("http://[::1]/a@b", "http://[::1]/a@b"),
        ("ssh://h:a/b@c", "ssh://h:a/b@c"),
        ("http::https://u:p@h", "http::https://h"),
        ("host:a@b", "host:a@b"),
    ] {
        assert_eq!(redact(text), shown);
    }
    for (text, shown) in [
        ("u:p@h:1", "h:1"),
        ("u:p@h:1/a:b", "h:1/a:b"),
        ("u:p@q@h/x", "h/x"),
        ("https://u:p@h/x", "https://h/x"),
        ("h:1/a:b", "h:1/a:b"),
        ("a@b", "a@b"),
        ("h/a:b@sha256:1", "h/a:b@sha256:1"),
        ("h/a:b@sha512:1", "h/a:b@sha512:1"),
    ] {
        assert_eq!(redact_place(text), shown);
    }
    for (text, shown) in [
        (
            "fatal: unable to access 'https://u:p@h/': 1 and http://x:y@z",
            "fatal: unable to access 'https://h/': 1 and http://z",
        ),
        ("no 'https://u:p@h', or", "no 'https://h', or"),
        (
            "see https://h/a?c=d&token&e=f=g#h or http://h?x=y.",
            "see https://h/a?c=&e=#h or http://h?x=",
        ),
        (r#"{"url": "https://u:p@h/f?a=b", "x": 1}"#, r#"{"url": "https://h/f?a=", "x": 1}"#),
        ("ADD http://u:it'sPW@h/f /x", "ADD http://h/f /x"),
        ("ü://a http::http://u:p@h", "ü://a http::http://h"),
        (r#""url": "http:\/\/u:p@h\/f?a=b", "x""#, r#""url": "http:\/\/h\/f?a=", "x""#),
        (r#"{"url": "http:/u:p@h/f"}"#, r#"{"url": "http:/h/f"}"#),
        ("a: b, c://d:e@f http:", "a: b, c://f http:"),
        ("none", "none"),
    ] {
        assert_eq!(redact_text(text), shown);
    }
}

/// Downloads through the proxy that variables name.
fn get_by(variables: &[(&str, String)], url: &str) -> Result<Vec<u8>, HttpError> {
    let proxies = Proxies::from_variables(|name| {
        let same = |(known, _): &&(&str, String)| *known == name;
        variables.iter().find(same).map(|(_, value)| value.into())
    });
    HttpClient::new(HttpOptions { proxies, ..options() }).get(url, "p/s", 1 << 20, &Silent)
}

#[test]
fn proxies_are_those_of_the_variables() {
    let server = TestServer::start(|_, _| ok(b"by proxy"));
    let proxy = || ("HTTP_PROXY", server.url(""));
    assert_eq!(get_by(&[proxy()], "http://name.invalid/f").unwrap(), b"by proxy");
    let closed = ClosedAddress::new();
    get_by(&[proxy()], &closed.url("/f")).unwrap_err();
    get_by(&[proxy(), ("NO_PROXY", "*".to_owned())], "http://name.invalid/f").unwrap_err();
    let paths: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["http://name.invalid/f"]);
}

#[test]
fn a_proxy_that_is_broken_is_an_error_and_never_means_directly() {
    let server = TestServer::start(|_, _| ok(b"directly"));
    let loopback = || ("NO_PROXY", "<-loopback>".to_owned());
    let closed = ClosedAddress::new();
    for value in [
        "ftp://h:1".to_owned(),
        "http://".to_owned(),
        closed.url(""),
        format!("socks5://{}", &closed.url("")[7..]),
    ] {
        let error = get_by(&[("HTTP_PROXY", value.clone()), loopback()], &server.url("/f"));
        error.expect_err(&value);
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn socks_proxies_are_spoken_to() {
    use std::io::Write as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("socks5h://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            stream.read_exact(&mut bytes).unwrap();
            bytes
        };
        // RFC 1928: the methods, then the name that is to be connected to.
        let methods = read(2)[1];
        read(methods.into());
        stream.write_all(&[5, 0]).unwrap();
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            stream.read_exact(&mut bytes).unwrap();
            bytes
        };
        let request = read(5);
        let name = read(request[4].into());
        read(2);
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsocks")
            .unwrap();
        String::from_utf8(name).unwrap()
    });
    assert_eq!(get_by(&[("all_proxy", proxy)], "http://name.invalid/f").unwrap(), b"socks");
    assert_eq!(serving.join().unwrap(), "name.invalid");
}

#[test]
fn a_server_that_wants_no_request_for_long_gets_no_further_one() {
    let server =
        TestServer::start(|_, _| answer("429 Slow\r\nContent-Length: 0\r\nRetry-After: 3600", b""));
    let seen = Events::default();
    let error = get(&server.url("/f"), &seen).unwrap_err();
    assert!(matches!(error, HttpError::GaveUp { attempts: 1, .. }), "{error}");
    assert!(error.to_string().contains("wants no request for 3600 s"), "{error}");
    assert_eq!((server.requests().len(), seen.retries()), (1, vec![]));
}

#[test]
fn a_refused_connection_fails_at_once_unless_the_server_was_there() {
    let closed = ClosedAddress::new();
    let seen = Events::default();
    let error = get(&closed.url("/f"), &seen).unwrap_err();
    assert!(matches!(error, HttpError::ConnectionRefused { .. }), "{error}");
    assert!(error.to_string().contains("refused") && error.hint().is_some(), "{error}");
    assert_eq!(seen.retries(), [""; 0]);
    // A server that restarts: the first answer breaks off, and for a moment nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/f", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
            .unwrap();
    });
    let error = get(&url, &seen).unwrap_err();
    serving.join().unwrap();
    assert!(matches!(error, HttpError::GaveUp { attempts: 3, .. }), "{error}");
}

#[test]
fn a_part_goes_on_where_it_broke_off_and_is_never_of_two_files() {
    let part = |server: &TestServer, range: std::ops::Range<u64>| {
        let mut to = Vec::new();
        let client = HttpClient::new(options());
        let count = client.part(&server.url("/f"), "p/s", range, &mut to, &Silent)?;
        assert_eq!(count, to.len() as u64);
        Ok::<_, HttpError>(to)
    };
    for (etag, expected) in [("\"a\"", Some(b"2345678")), ("\"b\"", None)] {
        let server = TestServer::start(move |number, _| match number {
            0 => answer(
                "206 P\r\nETag: \"a\"\r\nContent-Range: bytes 2-8/10\r\nContent-Length: 7",
                b"234",
            ),
            _ => answer(
                &format!(
                    "206 P\r\nETag: {etag}\r\nContent-Range: bytes 5-8/10\r\nContent-Length: 4"
                ),
                b"5678",
            ),
        });
        let found = part(&server, 2..9);
        assert_eq!(server.requests()[1].header("range"), Some("bytes=5-8"));
        match expected {
            Some(bytes) => assert_eq!(found.unwrap(), bytes),
            None => assert!(found.unwrap_err().to_string().contains("changed")),
        }
    }
    // A server without ranges gives all.
    let server = TestServer::start(|_, _| ok(BODY));
    assert_eq!(part(&server, 3..6).unwrap(), b"345");
    assert_eq!(part(&server, 8..60).unwrap(), b"89");
    let server = TestServer::start(|_, _| {
        answer("206 P\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10", BODY)
    });
    assert!(part(&server, 3..6).unwrap_err().to_string().contains("another part"));
}
