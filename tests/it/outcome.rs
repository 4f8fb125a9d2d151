//! What building a tree leaves: its packages, its bootstrap and the files beside them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Place, files_below};
use crate::tree::{built, cache_of};

/// A tree of which everything is seen in its bootstrap.
pub fn rich_tree() -> Place {
    let place = Place::new();
    place.write("treeinfo.json", r#"{"bootstrap_package_list": ["p"]}"#);
    place.package(
        "lib",
        r#"{"environment": {"LIB": "/opt/mesosphere/lib", "N": 7}}"#,
        "mkdir -p $PKG_PATH/lib/sub $PKG_PATH/include; echo so > $PKG_PATH/lib/sub/x.so
         ln -s sub/x.so $PKG_PATH/lib/x.so; echo h > $PKG_PATH/include/x.h; touch -d @2000000000 $PKG_PATH/include/x.h",
    );
    place.package(
        "p",
        r#"{"requires": ["lib"], "username": "dcos_p", "state_directory": true, "sysctl": {"p": {"net.x": 1}}}"#,
        "mkdir -p $PKG_PATH/bin $PKG_PATH/dcos.target.wants; cat /opt/mesosphere/lib/x.so > $PKG_PATH/bin/p
         chmod 4755 $PKG_PATH/bin/p; ln $PKG_PATH/bin/p $PKG_PATH/bin/q
         echo '[Service]' > $PKG_PATH/dcos.target.wants/p.service; echo $RANDOM > /tmp/noise",
    );
    place.package("rest", "{}", "touch $PKG_PATH/rest");
    place
}

pub fn sums(place: &Place) -> BTreeMap<String, String> {
    let cache = place.packages.join("cache");
    let files = files_below(&cache);
    let sum = |path: &Path| crate::support::sha256(&std::fs::read(path).unwrap());
    let name = |path: &Path| path.strip_prefix(&cache).unwrap().display().to_string();
    files.iter().map(|path| (name(path), sum(path))).collect()
}

#[test]
fn another_folder_and_another_home_give_the_same_bytes() {
    let one = rich_tree();
    one.run(".", &["tree", "--mkbootstrap", "-j1"]).ok();
    let mut two = rich_tree();
    two.variables.push(("SOURCE_DATE_EPOCH".to_owned(), "1".to_owned()));
    two.variables.push(("LANG".to_owned(), "de_DE.UTF-8".to_owned()));
    two.variables.push(("TZ".to_owned(), "Asia/Tokyo".to_owned()));
    two.run(".", &["tree", "--mkbootstrap", "-j2"]).ok();
    let (one, two) = (sums(&one), sums(&two));
    assert_eq!(one, two);
    assert_eq!(one.keys().filter(|name| name.ends_with(".tar.xz")).count(), 4);
}

#[test]
fn a_tree_leaves_its_packages_its_bootstrap_and_the_files_beside_them() {
    let place = rich_tree();
    let ran = place.run(".", &["tree", "--mkbootstrap"]).ok();
    let archive =
        cache_folder(&place).join(format!("bootstrap/{}.bootstrap.tar.xz", bootstrap_id(&place)));
    assert_eq!(ran.stdout, format!("{}\n", archive.display()));
    let files = cache_of(&place).join("\n").replace(&bootstrap_id(&place), "<id>");
    insta::assert_snapshot!(files, @r"
    bootstrap/<id>.active.json
    bootstrap/<id>.bootstrap.tar.xz
    bootstrap/bootstrap.latest
    complete/complete.latest.json
    packages/lib/latest
    packages/lib/lib--<sha1>.tar.xz
    packages/p/latest
    packages/p/p--<sha1>.tar.xz
    packages/rest/latest
    packages/rest/rest--<sha1>.tar.xz
    ");
    let cache = place.packages.join("cache");
    let read = |path: &str| std::fs::read_to_string(cache.join(path)).unwrap();
    let id = |name: &str| read(&format!("packages/{name}/latest"));
    let (lib, p, rest) = (id("lib"), id("p"), id("rest"));
    let bootstrap = bootstrap_id(&place);
    let complete = format!(
        "{{\n  \"bootstrap\":\"{bootstrap}\",\n  \"packages\":[\n    \"{lib}\",\n    \"{p}\",\n    \"{rest}\"\n  ]\n}}"
    );
    assert_eq!(read("complete/complete.latest.json"), complete);
    let active = read(&format!("bootstrap/{bootstrap}.active.json"));
    let listed: Vec<String> = serde_json::from_str(&active).unwrap();
    assert_eq!(listed, [lib.clone(), p.clone()]);
    let output = std::process::Command::new("tar").arg("-tvJf").arg(archive).output().unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    let listing: Vec<String> = listing
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            place.generic(&format!("{} {} {}", words[0], words[1], words[5..].join(" ")))
        })
        .collect();
    insta::assert_snapshot!(listing.join("\n"), @r"
    drwxr-xr-x 0/0 ./
    drwxr-xr-x 0/0 ./active/
    -rw-r--r-- 0/0 ./active.buildinfo.full.json
    lrwxrwxrwx 0/0 ./active/lib -> /opt/mesosphere/packages/lib--<sha1>
    lrwxrwxrwx 0/0 ./active/p -> /opt/mesosphere/packages/p--<sha1>
    drwxr-xr-x 0/0 ./bin/
    lrwxrwxrwx 0/0 ./bin/p -> /opt/mesosphere/packages/p--<sha1>/bin/p
    lrwxrwxrwx 0/0 ./bin/q -> /opt/mesosphere/packages/p--<sha1>/bin/q
    -rw-r--r-- 0/0 ./bootstrap
    -rw-r--r-- 0/0 ./environment
    -rw-r--r-- 0/0 ./environment.export
    drwxr-xr-x 0/0 ./etc/
    -rw-r--r-- 0/0 ./etc/dcos-service-configuration.json
    drwxr-xr-x 0/0 ./include/
    lrwxrwxrwx 0/0 ./include/x.h -> /opt/mesosphere/packages/lib--<sha1>/include/x.h
    drwxr-xr-x 0/0 ./lib/
    drwxr-xr-x 0/0 ./lib/sub/
    lrwxrwxrwx 0/0 ./lib/sub/x.so -> /opt/mesosphere/packages/lib--<sha1>/lib/sub/x.so
    lrwxrwxrwx 0/0 ./lib/x.so -> /opt/mesosphere/packages/lib--<sha1>/lib/x.so
    drwxr-xr-x 0/0 ./packages/
    drwxr-xr-x 0/0 ./packages/lib--<sha1>/
    -rw-r--r-- 0/0 ./packages/lib--<sha1>/buildinfo.full.json
    drwxr-xr-x 0/0 ./packages/lib--<sha1>/include/
    -rw-r--r-- 0/0 ./packages/lib--<sha1>/include/x.h
    drwxr-xr-x 0/0 ./packages/lib--<sha1>/lib/
    drwxr-xr-x 0/0 ./packages/lib--<sha1>/lib/sub/
    -rw-r--r-- 0/0 ./packages/lib--<sha1>/lib/sub/x.so
    lrwxrwxrwx 0/0 ./packages/lib--<sha1>/lib/x.so -> sub/x.so
    -rw-r--r-- 0/0 ./packages/lib--<sha1>/pkginfo.json
    drwxr-xr-x 0/0 ./packages/p--<sha1>/
    drwxr-xr-x 0/0 ./packages/p--<sha1>/bin/
    -rwsr-xr-x 0/0 ./packages/p--<sha1>/bin/p
    hrwsr-xr-x 0/0 ./packages/p--<sha1>/bin/q link to ./packages/p--<sha1>/bin/p
    -rw-r--r-- 0/0 ./packages/p--<sha1>/buildinfo.full.json
    drwxr-xr-x 0/0 ./packages/p--<sha1>/dcos.target.wants/
    -rw-r--r-- 0/0 ./packages/p--<sha1>/dcos.target.wants/p.service
    -rw-r--r-- 0/0 ./packages/p--<sha1>/pkginfo.json
    ");
    place.assert_clean();
    // Again: all is there.
    let again = place.run(".", &["tree", "--mkbootstrap"]).ok();
    assert_eq!(built(&again.stderr), [""; 0]);
}

fn cache_folder(place: &Place) -> std::path::PathBuf {
    place.packages.canonicalize().unwrap().join("cache")
}

pub fn bootstrap_id(place: &Place) -> String {
    std::fs::read_to_string(place.packages.join("cache/bootstrap/bootstrap.latest")).unwrap()
}
