//! Servers of git repositories that do not answer, and the waits for them.

use serde_json::json;

use super::*;

#[test]
fn a_wait_before_another_attempt_ends_with_the_run() {
    struct Ends(std::sync::atomic::AtomicBool);
    impl Observer for Ends {
        fn event(&self, event: Event) {
            if matches!(event, Event::Retry { .. }) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }

        fn is_interrupted(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed)
        }
    }
    let mut world = World::new();
    world.options.http =
        HttpClient::new(HttpOptions { first_wait: Duration::from_secs(60), ..Default::default() });
    let server = crate::base::http::test_server::TestServer::start(|_, _| {
        crate::base::http::test_server::answer("503 x\r\nContent-Length: 0", b"")
    });
    let request = world.request(&json!({
        "kind": "git", "git": server.url("/r"), "ref_origin": "main",
        "ref": "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5",
    }));
    let began = std::time::Instant::now();
    let id = identify(&request, &world.options, &world.seen).unwrap();
    let error = fetch(&request, &id, &world.options, &Ends(false.into())).unwrap_err();
    assert!(matches!(*error.problem, SourceProblem::Interrupted), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn where_nobody_listens_git_is_run_once() {
    let mut world = World::new();
    world.options.http =
        HttpClient::new(HttpOptions { first_wait: Duration::from_secs(60), ..Default::default() });
    let closed = crate::base::http::test_server::ClosedAddress::new();
    let began = std::time::Instant::now();
    let error = world
        .fetch(json!({
            "kind": "git", "git": closed.url("/r"), "ref_origin": "main",
            "ref": "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5",
        }))
        .unwrap_err();
    assert!(matches!(error, SourceProblem::Git { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}
