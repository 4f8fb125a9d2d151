//! Registries and mirrors that are down: how often they are asked in one run.

use super::*;
use crate::base::http::test_server::ClosedAddress;
use crate::store::registry::RegistryHost;

/// A registry that takes connections and answers nothing.
fn silent() -> TestServer {
    TestServer::start(|_, _| Vec::new())
}

fn with_mirrors(place: &mut TestClient, host: &str, mirrors: &[String]) {
    let host: RegistryHost = host.parse().unwrap();
    let config = place.options.registries.entry(host).or_default();
    config.insecure = true;
    config.mirrors = mirrors.iter().map(|mirror| mirror.parse().unwrap()).collect();
}

fn pull(client: &Client, place: &TestClient, name: &str) -> Result<PulledImage, RegistryError> {
    let name = name.parse().unwrap();
    client.pull(&place.store, &name, &PullOptions::default(), None, &place.told)
}

/// Number of warnings with a text.
fn warnings(place: &TestClient, text: &str) -> usize {
    let told = place.told.0.lock().unwrap();
    let has =
        |event: &&Event| matches!(event, Event::Warning { message, .. } if message.contains(text));
    told.iter().filter(has).count()
}

#[test]
fn a_registry_that_is_down_gets_all_attempts_once_and_then_one_for_each_image() {
    let server = silent();
    let place = TestClient::new(&[&server]);
    let client = Client::new(place.options.clone());
    for (image, requests) in [("a", 2), ("b", 3), ("a", 4)] {
        pull(&client, &place, &format!("{}/{image}:1", server.host())).unwrap_err();
        assert_eq!(server.requests().len(), requests);
    }
    // A copy knows, and a question with another way out is not asked.
    let name = format!("{}/c:1", server.host()).parse().unwrap();
    let error = client.clone().giving_up_early().has(&name, &place.told).unwrap_err();
    assert!(with_causes(&error).contains("could not be reached before"), "{error}");
    assert_eq!(server.requests().len(), 4);
    // Another run asks again.
    pull(&Client::new(place.options.clone()), &place, &format!("{}/a:1", server.host()))
        .unwrap_err();
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn a_registry_that_comes_back_gets_all_attempts_again() {
    let contents = RegistryContents::simple();
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let server = TestServer::start(move |_, request| {
        // Down for two requests, then for each other one.
        match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 | 7 => Vec::new(),
            _ => contents.answer(request),
        }
    });
    let place = TestClient::new(&[&server]);
    let client = Client::new(place.options.clone());
    let name = format!("{}/r:1", server.host());
    pull(&client, &place, &name).unwrap_err();
    assert_eq!(server.requests().len(), 2);
    pull(&client, &place, &name).unwrap();
    // The eighth request is lost, and made again.
    pull(&client, &place, &format!("{}/other/r:1", server.host())).unwrap();
}

#[test]
fn a_question_that_gives_up_early_takes_no_attempts_from_a_pull() {
    let server = silent();
    let place = TestClient::new(&[&server]);
    let client = Client::new(place.options.clone());
    let name = format!("{}/a:1", server.host());
    client.giving_up_early().has(&name.parse().unwrap(), &place.told).unwrap_err();
    assert_eq!(server.requests().len(), 1);
    pull(&client, &place, &name).unwrap_err();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn mirrors_that_are_down_are_skipped_and_fail_nothing() {
    let (mirror, own) = (silent(), serve(&RegistryContents::simple(), |_, _| None));
    let mut place = TestClient::new(&[&mirror, &own]);
    let closed = ClosedAddress::new();
    let refusing = closed.host();
    with_mirrors(&mut place, &refusing, &[]);
    with_mirrors(&mut place, &own.host(), &[mirror.host(), refusing.clone()]);
    let client = Client::new(place.options.clone());
    for image in ["a/r", "b/r", "c/r", "d/r", "e/r"] {
        pull(&client, &place, &format!("{}/{image}:1", own.host())).unwrap();
    }
    assert_eq!(mirror.requests().len(), 3 * 2, "three images, each with all attempts");
    assert_eq!(warnings(&place, &format!("the mirror {} doesn't", mirror.host())), 3);
    assert_eq!(warnings(&place, "not asked again"), 2, "{}", place.said());
    assert_eq!(warnings(&place, &format!("the mirror {refusing} doesn't")), 1);
}

#[test]
fn the_registry_itself_says_if_an_image_is_there_whatever_a_mirror_does() {
    let (mirror, own) = (silent(), serve(&RegistryContents::simple(), |_, _| None));
    let mut place = TestClient::new(&[&mirror, &own]);
    with_mirrors(&mut place, &own.host(), &[mirror.host()]);
    let client = Client::new(place.options.clone()).giving_up_early();
    let has = |name: &str| {
        let name = format!("{}/{name}", own.host()).parse().unwrap();
        client.has(&name, &place.told).unwrap()
    };
    assert!(has("r:1") && !has("r:none"));
    assert!(!has("r:none") && !has("r:none"));
    assert_eq!(
        mirror.requests().len(),
        3,
        "also of questions that give up early, three are enough"
    );
    assert_eq!(warnings(&place, "not asked again"), 1);
}

#[test]
fn a_push_ends_where_the_registry_goes_away() {
    let source = serve(&RegistryContents::simple(), |_, _| None);
    let target = TestServer::start(|_, request| match request.method.as_str() {
        "HEAD" => answer("404 x", b""),
        _ => Vec::new(),
    });
    let place = TestClient::new(&[&source, &target]);
    place.pull(&format!("{}/r:1", source.host()));
    // Names of other repositories there, from which a layer could be mounted.
    let name = format!("{}/r:1", source.host()).parse().unwrap();
    let image = place.store.find(&name).unwrap().unwrap();
    let others: Vec<crate::image::ImageRef> =
        (0..9).map(|n| format!("{}/o{n}:1", target.host()).parse().unwrap()).collect();
    place.store.name(&image, &others, &place.told).unwrap();
    let client = Client::new(place.options.clone());
    let to = format!("{}/r:1", target.host()).parse().unwrap();
    client.push(&place.store, &image, &to, &place.told).unwrap_err();
    let posts = target.requests().iter().filter(|request| request.method == "POST").count();
    assert!(posts <= 3 * 2, "{posts} posts for three blobs with two attempts each");
}

#[test]
fn where_nobody_listens_there_is_one_attempt() {
    let closed = ClosedAddress::new();
    let host = closed.host();
    let mut place = TestClient::new(&[]);
    with_mirrors(&mut place, &host, &[]);
    let client = Client::new(place.options.clone());
    let error = pull(&client, &place, &format!("{host}/r:1")).unwrap_err();
    assert!(with_causes(&error).contains("refused") && error.hint().is_some(), "{error}");
    assert!(!place.said().contains("Retry"), "{}", place.said());
}
