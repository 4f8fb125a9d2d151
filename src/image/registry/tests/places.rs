//! Mirrors, and places that are none.

use super::*;
use crate::base::http::test_server::ClosedAddress;
use crate::store::registry::RegistryHost;

#[test]
fn a_mirror_goes_before_and_the_registry_after() {
    let contents = RegistryContents::simple();
    let mirror = serve(&contents, |_, _| None);
    let broken = serve(&contents, |request, _| {
        request.path.contains("blobs").then(|| answer("404 x\r\nContent-Length: 0", b""))
    });
    let own = serve(&contents, |_, _| None);
    let name = format!("{}/library/r:1", own.host());
    let host: RegistryHost = own.host().parse().unwrap();
    let mut place = TestClient::new(&[&mirror, &broken, &own]);
    let mirrors = [format!("{}/some/where", broken.host()), mirror.host()];
    let config = place.options.registries.get_mut(&host).unwrap();
    config.mirrors = mirrors.iter().map(|mirror| mirror.parse().unwrap()).collect();
    place.pull(&name);
    assert!(own.requests().is_empty());
    assert_eq!(asked(&broken)[0], "GET /v2/some/where/library/r/manifests/1");
    assert_eq!(asked(&mirror)[0], "GET /v2/library/r/manifests/1");
    assert!(place.said().contains("doesn't give it"), "{}", place.said());
    let image = place.store.find(&name.parse().unwrap()).unwrap().unwrap();
    assert_eq!(image.references[0].registry(), own.host(), "it keeps its own name");
    // Where all fail, the registry itself has the last word.
    let none = format!("{}/library/r:none", own.host());
    assert!(place.fails(&none).contains("the image isn't there"));
    assert_eq!(own.requests().len(), 1);
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let closed = ClosedAddress::new();
    let host = closed.host();
    let mut place = TestClient::new(&[]);
    let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
    place.options.registries = Registries::from([(host.parse().unwrap(), insecure)]);
    let error = place.fails(&format!("{host}/r:1"));
    assert!(error.contains("refused") && error.contains("check the network"), "{error}");
    // Plain HTTP is spoken to whom the configuration names alone.
    let server = serve(&RegistryContents::simple(), |_, _| None);
    let place = TestClient::new(&[]);
    let error = place.fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("insecure = true"), "{error}");
}

#[test]
fn a_ca_file_has_to_be_one() {
    let mut place = TestClient::new(&[]);
    for (text, message) in [(None, "No such file"), (Some("x"), "no certificate")] {
        let path = place.folder.path().join("ca.pem");
        if let Some(text) = text {
            fs_err::write(&path, text).unwrap();
        }
        let config = RegistryConfig { ca: Some(path), ..RegistryConfig::default() };
        place.options.registries = Registries::from([("h.example".parse().unwrap(), config)]);
        let error = place.fails("h.example/r:1");
        assert!(error.contains("the CA file") && error.contains(message), "{error}");
    }
}
