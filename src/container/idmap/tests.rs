use super::*;

fn identity<'a>() -> Identity<'a> {
    Identity {
        uid: 1000,
        gid: 100,
        name: "ann",
        own_uid_map: "         0          0 4294967295\n",
        subuid: "bob:1:1\nann:100000:65536\n1000:300000:10\nann:x:y\n",
        subgid: "ann:200000:65536\n",
        privileged: false,
        lacks: Vec::new(),
        programs: Some(("/usr/bin/newuidmap".into(), "/usr/bin/newgidmap".into())),
        root_range: None,
    }
}

#[test]
fn a_user_is_root_and_owns_its_ranges() {
    let map = ranges(&identity()).unwrap();
    assert_eq!(map_text(&map.uids), "0 1000 1\n1 100000 65536\n65537 300000 10\n");
    assert_eq!(map_text(&map.gids), "0 100 1\n1 200000 65536\n");
    assert_eq!(map.root(), (1000, 100));
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let error = ranges(&Identity { subgid: "", ..identity() }).unwrap_err();
    assert_eq!(error.to_string(), "/etc/subgid has no entry for ann");
    assert_eq!(
        error.remedy(),
        "run as root: usermod --add-subuids 300010-365545 --add-subgids 300010-365545 ann"
    );
    for (files, free) in [
        (["", ""], 100_000),
        (["a:100000:65536\nb:x:y\n", ""], 165_536),
        (["", "a:100000:65536\nc:400000:65536"], 465_536),
        (["a:10:20", ""], 100_000),
        (["a:1500000000:65536\nb:100000:1000", ""], 101_000),
    ] {
        let whole = "0 0 4294967295\n";
        assert_eq!(free_range(&files, whole, 7), Some((free, 65_536)), "{files:?}");
    }
    // A container with few ids of its own: what is proposed exists there.
    let nested = "0 1000 1\n1 100000 65536\n";
    for (files, free) in [
        (["", ""], Some((1001, 64_536))),
        (["a:1001:4000", ""], Some((5001, 60_536))),
        (["a:1001:64000", ""], None),
    ] {
        assert_eq!(free_range(&files, nested, 1000), free, "{files:?}");
    }
    let nameless = Identity { name: "77", uid: 77, subuid: "", ..identity() };
    assert_eq!(
        ranges(&nameless).unwrap_err().command().unwrap(),
        "sh -c 'echo 77:265536:65536 | tee -a /etc/subuid >> /etc/subgid'"
    );
    assert_eq!(
        ranges(&Identity { programs: None, ..identity() }).unwrap_err(),
        NoRanges::NoPrograms
    );
}

#[test]
fn the_machines_root_is_never_the_containers() {
    let root = Identity { uid: 0, gid: 0, name: "root", privileged: true, ..identity() };
    let own = |identity: &Identity<'_>| map_text(&ranges(identity).unwrap().uids);
    assert_eq!(own(&root), "0 1500000000 65536\n");
    let lacks = vec!["CAP_SETUID".to_owned()];
    let weak = Identity { privileged: false, lacks: lacks.clone(), ..root.clone() };
    assert_eq!(ranges(&weak).unwrap_err(), NoRanges::RootLacks { lacks });
    // Capabilities alone would not help.
    let alone = Identity { own_uid_map: "0 0 1\n", ..weak };
    assert_eq!(ranges(&alone).unwrap_err(), NoRanges::TooFewIds);
    let entry =
        Identity { subuid: "root:100000:65536", subgid: "root:100000:65536", ..root.clone() };
    assert_eq!(own(&entry), "0 100000 65536\n");
    assert_eq!(own(&Identity { root_range: Some((7, 70_000)), ..entry.clone() }), "0 7 65536\n");
    assert_eq!(own(&Identity { root_range: Some((0, 70_000)), ..entry }), "0 100000 65536\n");
    let nested = Identity { own_uid_map: "0 1000 1\n1 100000 65536\n", ..root.clone() };
    assert_eq!(own(&nested), "0 1 65536\n");
    let alone = Identity { own_uid_map: "0 1000 1\n", ..root };
    assert_eq!(ranges(&alone).unwrap_err(), NoRanges::TooFewIds);
}
