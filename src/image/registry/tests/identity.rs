//! Credentials: asked for, given, kept back.

use super::*;

const AUTH: &str = "anna:geheim";
/// `anna:geheim` in base64.
const BASIC: &str = "Basic YW5uYTpnZWhlaW0=";

fn basic_only(request: &Request) -> Option<Vec<ServerAction>> {
    (request.header("authorization") != Some(BASIC))
        .then(|| answer("401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0", b""))
}

/// A registry that takes tokens, and its token server in one.
fn with_tokens(
    contents: &RegistryContents,
    realm: impl Fn(&str) -> String + Send + Sync + 'static,
) -> TestServer {
    serve(contents, move |request, _| {
        let host = request.header("host").unwrap();
        if request.path.starts_with("/token") {
            let token = match request.header("authorization") {
                Some(BASIC) => "for-anna",
                None => "for-nobody",
                Some(_) => return Some(answer("401 x\r\nContent-Length: 0", b"")),
            };
            return Some(ok_json(&format!(
                "{{\"access_token\": \"{token}\", \"expires_in\": 60}}"
            )));
        }
        (request.header("authorization") != Some("Bearer for-anna")).then(|| {
            let realm = realm(host);
            answer(
                &format!("401 x\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"s&s\",scope=\"repository:r:pull\"\r\nContent-Length: 0"),
                b"",
            )
        })
    })
}

fn ok_json(text: &str) -> Vec<ServerAction> {
    answer(&format!("200 OK\r\nContent-Length: {}", text.len()), text.as_bytes())
}

#[test]
fn a_password_is_given_where_it_is_wanted() {
    let server = serve(&RegistryContents::simple(), |request, _| basic_only(request));
    let name = format!("{}/r:1", server.host());
    let mut place = TestClient::new(&[&server]);
    let error = place.fails(&name);
    assert!(
        error.contains("there are none for it") && error.contains("`mkpanda login "),
        "{error}"
    );
    place.log_in(&server.host(), "anna:falsch");
    let error = place.fails(&name);
    assert!(error.contains("refuses the ones that it was given"), "{error}");
    assert!(!error.contains("falsch"));
    place.log_in(&server.host(), AUTH);
    place.pull(&name);
    // Once it is known that it is wanted, it comes with each request.
    let refused =
        server.requests().into_iter().filter(|r| r.header("authorization").is_none()).count();
    assert_eq!(refused, 3, "one for each pull: {:?}", asked(&server));
    assert!(!place.said().contains("geheim") && !place.said().contains(BASIC));
}

#[test]
fn a_token_is_fetched_once_for_all_of_an_image() {
    let contents = RegistryContents::simple();
    let server = with_tokens(&contents, |host| format!("http://{host}/token"));
    let name = format!("{}/r:1", server.host());
    let mut place = TestClient::new(&[&server]);
    let error = place.fails(&name);
    assert!(error.contains("wants credentials: there are none for it"), "{error}");
    place.log_in(&server.host(), AUTH);
    place.pull(&name);
    let tokens: Vec<String> =
        asked(&server).into_iter().filter(|path| path.contains("/token")).collect();
    assert_eq!(tokens[1..], ["GET /token?service=s%26s&scope=repository%3Ar%3Apull".to_owned()]);
    assert!(!place.said().contains("for-anna"));
}

#[test]
fn token_servers_that_make_no_sense_are_named() {
    for (realm, message) in [
        ("nowhere", "names a token server that is not"),
        ("ftp://x/token", "would have the credentials sent unencrypted"),
        ("http://HOST/html", "something else than a token"),
        ("http://HOST/token-less", "without a token"),
        ("http://HOST/busy", "wants none for 3600 s"),
    ] {
        let server = serve(&RegistryContents::simple(), move |request, _| {
            if request.path.starts_with("/html") {
                return Some(ok_json("<html>"));
            }
            if request.path.starts_with("/busy") {
                let head = "429 x\r\nRetry-After: 3600\r\nContent-Length: 0";
                return Some(answer(head, b""));
            }
            if request.path.starts_with("/token-less") {
                return Some(ok_json("{\"token\": \"\"}"));
            }
            let realm = realm.replace("HOST", request.header("host").unwrap());
            Some(answer(
                &format!(
                    "401 x\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: 0"
                ),
                b"",
            ))
        });
        let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn credentials_stay_with_whom_they_are_for() {
    let contents = RegistryContents::simple();
    let (long, packed) = RegistryContents::long();
    // Storage elsewhere, which asks for the password of whoever comes.
    let thief = TestServer::start(move |number, request| {
        if number == 0 {
            return answer(&format!("200 OK\r\nContent-Length: {}", packed.len()), &packed);
        }
        basic_only(request).unwrap_or_default()
    });
    let elsewhere = thief.url("/stored?signature=secret");
    let to = elsewhere.clone();
    let server = serve(&contents, move |request, _| {
        basic_only(request).or_else(|| {
            request
                .path
                .ends_with(&long)
                .then(|| answer(&format!("307 x\r\nLocation: {to}\r\nContent-Length: 0"), b""))
        })
    });
    let mut place = TestClient::new(&[&server]);
    place.log_in(&server.host(), AUTH);
    let name = format!("{}/r:1", server.host());
    place.pull(&name);
    let other = TestClient { options: place.options.clone(), ..TestClient::new(&[]) };
    let error = other.fails(&name);
    assert!(error.contains("wants credentials"), "{error}");
    for request in thief.requests() {
        assert_eq!(request.header("authorization"), None);
    }
    assert!(!error.contains("secret") && !other.said().contains("secret"));
}

#[test]
fn an_identity_token_goes_to_no_server_that_the_token_server_leads_to() {
    let thief = TestServer::start(|_, _| ok_json("{\"token\": \"for-anna\"}"));
    let to = thief.url("/token");
    for status in [307, 308] {
        let to = to.clone();
        let server = serve(&RegistryContents::simple(), move |request, _| {
            let host = request.header("host").unwrap();
            if request.path == "/token" {
                let location = format!("http://{host}/moved");
                return Some(answer(
                    &format!("{status} x\r\nLocation: {location}\r\nContent-Length: 0"),
                    b"",
                ));
            }
            if request.path == "/moved" {
                assert_eq!(request.method, "POST");
                return Some(answer(
                    &format!("{status} x\r\nLocation: {to}\r\nContent-Length: 0"),
                    b"",
                ));
            }
            let head = format!(
                "401 x\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\"\r\nContent-Length: 0"
            );
            (request.header("authorization") != Some("Bearer for-anna")).then(|| answer(&head, b""))
        });
        let mut place = TestClient::new(&[&server]);
        place.log_in(&server.host(), AUTH);
        let file = &place.options.credentials.files[0];
        let entry = r#"{"identitytoken": "geheim"}"#;
        fs_err::write(file, format!(r#"{{"auths": {{"{}": {entry}}}}}"#, server.host())).unwrap();
        let error = place.fails(&format!("{}/r:1", server.host()));
        assert!(error.contains("redirects to another server"), "{error}");
        assert!(thief.requests().is_empty() && !error.contains("geheim"));
        assert!(server.requests().iter().any(|request| request.path == "/moved"));
    }
}

#[test]
fn a_redirect_in_a_circle_ends() {
    let server = serve(&RegistryContents::simple(), |request, _| {
        Some(answer(&format!("302 x\r\nLocation: {}\r\nContent-Length: 0", request.path), b""))
    });
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("redirects in a circle"), "{error}");
}

#[test]
fn who_may_not_is_told_so() {
    let body = br#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#;
    let server = serve(&RegistryContents::simple(), move |_, _| {
        Some(answer(&format!("403 x\r\nContent-Length: {}", body.len()), body))
    });
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("doesn't allow it: requested access is denied"), "{error}");
    assert!(error.contains("may read"), "{error}");
}

#[test]
fn credentials_are_asked_for_at_the_registrys_own_url_where_nothing_else_asks() {
    let closed = "404 x\r\nContent-Length: 0";
    for (elsewhere, base, works) in [
        (closed, "401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0", true),
        (
            "403 x\r\nContent-Length: 0",
            "401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0",
            true,
        ),
        (
            "401 x\r\nContent-Length: 0",
            "401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0",
            true,
        ),
        (closed, "200 OK\r\nContent-Length: 0", false),
        (closed, closed, false),
    ] {
        let server = serve(&RegistryContents::simple(), move |request, _| {
            let head = if request.path == "/v2/" { base } else { elsewhere };
            (request.header("authorization") != Some(BASIC)).then(|| answer(head, b""))
        });
        let mut place = TestClient::new(&[&server]);
        let name = format!("{}/r:1", server.host());
        place.fails(&name);
        assert!(!asked(&server).contains(&"GET /v2/".to_owned()) || elsewhere.starts_with("401"));
        place.log_in(&server.host(), AUTH);
        assert_eq!(place.try_pull(&name, &PullOptions::default()).is_ok(), works, "{base}");
    }
}

#[test]
fn a_token_for_too_little_is_followed_by_one_for_what_the_registry_names() {
    for status in ["401 x", "403 x"] {
        let server = serve(&RegistryContents::simple(), move |request, _| {
            let host = request.header("host").unwrap();
            if request.path.starts_with("/token") {
                let wide = request.path.contains("scope=special%3Athing%3Aread")
                    && request.path.contains("scope=repository%3Ar%3Apull");
                let token = if wide { "wide" } else { "narrow" };
                return Some(ok_json(&format!(
                    "{{\"token\": \"\", \"access_token\": \"{token}\"}}"
                )));
            }
            let (status, more) = match request.header("authorization") {
                Some("Bearer wide") => return None,
                Some(_) => (status, ",scope=\"special:thing:read\",error=\"insufficient_scope\""),
                None => ("401 x", ""),
            };
            let challenge = format!("Bearer realm=\"http://{host}/token\"{more}");
            Some(answer(
                &format!("{status}\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0"),
                b"",
            ))
        });
        let place = TestClient::new(&[&server]);
        place.pull(&format!("{}/r:1", server.host()));
        let tokens = asked(&server).into_iter().filter(|path| path.contains("/token")).count();
        assert_eq!(tokens, 2, "the wide one is kept: {:?}", asked(&server));
    }
    // A registry that is never content is asked twice at the most.
    let server = serve(&RegistryContents::simple(), |request, before| {
        let host = request.header("host").unwrap();
        if request.path.starts_with("/token") {
            return Some(ok_json("{\"token\": \"x\"}"));
        }
        Some(answer(
            &format!(
                "401 x\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",scope=\"a{before}\"\r\nContent-Length: 0"
            ),
            b"",
        ))
    });
    TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(asked(&server).len() <= 5, "{:?}", asked(&server));
}
