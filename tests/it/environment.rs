//! Mounts, variables, user and working directory of a build script (docs/build-environment.md, "The build's
//! environment").

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::inside::{left_out, sha1_of, tier};
use crate::support::{BUILDER, Place, ran};
use crate::tiny::{image_archive, tiny_layer};

/// A place whose default builder is the tiny image with a configuration of its own.
pub fn with_image(config: &Value) -> Place {
    let place = Place::bare();
    let image = image_archive(&tiny_layer(), BUILDER, &config.to_string());
    std::fs::write(place.path().join("image.tar"), image).unwrap();
    let archive = place.path().join("image.tar");
    place.configure(&format!("[images]\n\"{BUILDER}\" = \"docker-archive:{}\"", archive.display()));
    place
}

/// `NAME=value` lines, as `env` prints them.
fn variables(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

/// The options of a mount, out of the text of `/proc/self/mountinfo`; of the last one at a path.
fn mount_options<'t>(mounts: &'t str, path: &str) -> Vec<&'t str> {
    let mut found = mounts.lines().rev().filter_map(|line| {
        let mut words = line.split(' ').skip(4);
        (words.next()? == path).then(|| words.next())?
    });
    found.next().unwrap_or_else(|| panic!("{path} is not a mount")).split(',').collect()
}

#[test]
fn mounts_are_writable_where_the_script_may_write_and_nowhere_else() {
    let place = Place::new();
    place.package("base", "{}", "mkdir $PKG_PATH/bin; echo base > $PKG_PATH/bin/base");
    place.write("app/extra/file", "extra\n");
    place.package(
        "app",
        r#"{"requires": ["base"]}"#,
        "cat /proc/self/mountinfo > $PKG_PATH/mounts
         cat /pkg/extra/file > $PKG_PATH/extra
         ls /pkg/build > $PKG_PATH/build
         echo base=$(echo /opt/mesosphere/packages/base--*) > $PKG_PATH/base
         echo new > /pkg/new; echo new > /pkg/src/new
         stat -c %a /dev/shm > $PKG_PATH/modes; echo > /tmp/new",
    );
    place.run("app", &[]).ok();
    let text = place.file_of("app", "base");
    let base = variables(&text)["base"].to_owned();
    let id = place.archive("app").file_name().unwrap().to_str().unwrap().replace(".tar.xz", "");
    let mounts = place.file_of("app", "mounts");
    for (path, mode) in [
        ("/pkg/src", "rw"),
        ("/pkg/build", "ro"),
        ("/pkg/extra", "ro"),
        ("/opt/mesosphere", "ro"),
        (base.as_str(), "ro"),
        (&format!("/opt/mesosphere/packages/{id}"), "rw"),
    ] {
        let options = mount_options(&mounts, path);
        assert_eq!(options[0], mode, "{path}");
        assert!(options.contains(&"nosuid") && options.contains(&"nodev"), "{path}: {options:?}");
    }
    assert_eq!(place.file_of("app", "extra"), "extra\n");
    assert_eq!(place.file_of("app", "build"), "build\nbuildinfo.json\nextra\n");
    assert_eq!(place.file_of("app", "modes"), "1777\n");
    place.assert_clean();
}

#[test]
fn dependencies_are_installed_with_what_they_require_themselves() {
    let place = Place::new();
    place.package(
        "low",
        r#"{"environment": {"LOW": "1"}}"#,
        "mkdir -p $PKG_PATH/{bin,lib,etc,include/low}
         printf '#!/bin/bash\\necho low\\n' > $PKG_PATH/bin/low; chmod +x $PKG_PATH/bin/low
         echo x > $PKG_PATH/lib/liblow; echo x > $PKG_PATH/include/low/low.h",
    );
    place.package(
        "high",
        r#"{"requires": ["low"]}"#,
        "mkdir $PKG_PATH/lib; echo y > $PKG_PATH/lib/libhigh",
    );
    place.package(
        "app",
        r#"{"requires": ["high"]}"#,
        "/opt/mesosphere/bin/low > $PKG_PATH/ran
         cd /opt/mesosphere; for link in bin/low lib/lib{low,high}; do readlink $link; done > $PKG_PATH/links
         cat include/low/low.h; ls active > $PKG_PATH/active; ls > $PKG_PATH/top
         grep -o LOW=1 environment environment.export > $PKG_PATH/environment
         [[ -d dcos.target.wants && -s active.buildinfo.full.json ]]",
    );
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "ran"), "low\n");
    assert_eq!(place.file_of("app", "active"), "high\nlow\n");
    let links = place.file_of("app", "links");
    let links: Vec<&str> = links.lines().collect();
    for (link, (package, file)) in
        links.iter().zip([("low", "bin/low"), ("low", "lib/liblow"), ("high", "lib/libhigh")])
    {
        assert!(link.contains(&format!("packages/{package}--")) && link.ends_with(file), "{link}");
    }
    assert_eq!(
        place.file_of("app", "environment"),
        "environment:LOW=1\nenvironment.export:LOW=1\n"
    );
    place.assert_clean();
}

#[test]
fn what_is_mounted_below_the_package_folder_is_read_only_too() {
    let place = Place::new();
    place.write("app/extra/below/.keep", "");
    place.package(
        "app",
        "{}",
        "cat /pkg/extra/below/inner > $PKG_PATH/inner
         ! echo x > /pkg/extra/below/inner
         ! touch /pkg/build/extra/below/new",
    );
    // A mount needs a namespace of the test's own; without privileges also a user namespace.
    let flags = if tier() == "ranges" && nix::unistd::Uid::current().is_root() {
        "--mount"
    } else {
        "--mount --map-root-user"
    };
    let mut outer = std::process::Command::new("sh");
    let script = "folder=extra/below; flags=$1; shift
        exec unshare $flags sh -c '
            mount -t tmpfs none '$folder' || exit 99
            echo inner > '$folder/inner'
            exec \"$@\"' sh \"$@\"";
    let command = place.command("app", &[]);
    outer.args(["-c", script, "sh", flags]).arg(command.get_program());
    outer.current_dir(command.get_current_dir().unwrap()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = ran(&outer.stdin(std::process::Stdio::null()).output().unwrap());
    if ran.code == 99 || ran.stderr.contains("unshare failed") {
        return left_out("mounts below the package folder (no mount allowed here)", "it-root");
    }
    ran.ok();
    assert_eq!(place.file_of("app", "inner"), "inner\n");
}

#[test]
fn the_script_gets_its_variables_and_none_of_the_callers() {
    let mut place = Place::new();
    place.variables.push(("CALLERS_SECRET".to_owned(), "x".to_owned()));
    place.package("app", "{}", "env > $PKG_PATH/env; umask > $PKG_PATH/umask; id > $PKG_PATH/id");
    place.write("app/small.buildinfo.json", "{}");
    place.write("app/small.build", "#!/bin/bash\necho $PKG_VARIANT > $PKG_PATH/variant\n");
    let script = place.packages.join("app/small.build");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    place.run("app", &["--jobs", "1"]).ok();
    let id = place.archive("app").file_name().unwrap().to_str().unwrap().replace(".tar.xz", "");
    let text = place.file_of("app", "env");
    let mut found = variables(&text);
    let cores = std::thread::available_parallelism().unwrap().to_string();
    for (name, value) in [
        ("PKG_NAME", "app"),
        ("PKG_ID", id.as_str()),
        ("PKG_VERSION", id.strip_prefix("app--").unwrap()),
        ("PKG_VARIANT", "<default>"),
        ("PKG_PATH", &format!("/opt/mesosphere/packages/{id}")),
        ("NUM_CORES", &cores),
        ("HOME", "/root"),
        ("PWD", "/"),
        ("SOURCE_DATE_EPOCH", "315532800"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ] {
        assert_eq!(found.remove(name), Some(value), "{name}");
    }
    // There is a jobserver where there is something to share.
    if cores != "1" {
        let flags = found.remove("MAKEFLAGS");
        assert_eq!(flags, Some(" --jobserver-auth=fifo:/pkg/jobserver"));
    }
    // Bash's own.
    found.retain(|name, _| !["SHLVL", "_", "OLDPWD"].contains(name));
    assert_eq!(found, BTreeMap::new(), "nothing else");
    assert_eq!(place.file_of("app", "umask"), "0022\n");
    assert!(place.file_of("app", "id").starts_with("uid=0(root) gid=0(root)"));
    let folder = place.packages.join("cache/packages/app");
    let small = std::fs::read_to_string(folder.join("small.latest")).unwrap();
    std::fs::write(folder.join("latest"), small).unwrap();
    assert_eq!(place.file_of("app", "variant"), "small\n");
}

#[test]
fn input_is_empty_and_no_descriptor_is_inherited() {
    let place = Place::new();
    place.package(
        "app",
        "{}",
        "readlink /proc/self/fd/0 > $PKG_PATH/stdin; cat > $PKG_PATH/input
         ls /proc/self/fd > $PKG_PATH/descriptors
         ! : > /dev/tty",
    );
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "stdin"), "/dev/null\n");
    assert_eq!(place.file_of("app", "input"), "");
    // The last one is the folder that is listed.
    assert_eq!(place.file_of("app", "descriptors"), "0\n1\n2\n3\n");
}

#[test]
fn the_images_configuration_counts() {
    let place = with_image(&json!({
        "Env": ["PATH=/bin", "GREETING=hello world", "HOME=/var", "PKG_NAME=ignored"],
        "WorkingDir": "/is/not/there",
        "Entrypoint": ["/bin/bash", "-o", "errexit", "-c", "echo from $0 > /entry; . \"$0\""],
        "Cmd": ["never"],
    }));
    place.package(
        "app",
        "{}",
        "pwd > $PKG_PATH/pwd; cat /entry > $PKG_PATH/entry
         echo $GREETING, $HOME, $PATH, $PKG_NAME > $PKG_PATH/env",
    );
    let script = place.packages.join("app/build");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o644)).unwrap();
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "pwd"), "/is/not/there\n");
    assert_eq!(place.file_of("app", "entry"), "from /pkg/build/build\n");
    assert_eq!(place.file_of("app", "env"), "hello world, /var, /bin, app\n");
}

#[test]
fn without_an_entrypoint_the_script_must_be_executable() {
    let place = Place::new();
    place.package("app", "{}", "true");
    let script = place.packages.join("app/build");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o644)).unwrap();
    place.run("app", &[]).fails(1).says("is not executable").says("hint: run: chmod +x build");
    place.assert_clean();
}

#[test]
fn a_first_line_that_no_kernel_understands_is_named() {
    let missing = "the script begins with #!/opt/none/bin/perl";
    for (first, hint) in [
        ("#!/opt/none/bin/perl -w\n", missing),
        ("#!/bin/sh\r\n", "the script has the line ends of DOS (CR LF)"),
    ] {
        let place = Place::new();
        place.package("app", "{}", "true");
        std::fs::write(place.packages.join("app/build"), format!("{first}true\n")).unwrap();
        place.run("app", &[]).fails(1).says(hint);
    }
    // The embedded builder's shell takes the line for a comment.
    let place = Place::bare();
    place.configure(&format!("[images]\n\"{BUILDER}\" = \"host\""));
    place.package("app", "{}", "true");
    std::fs::write(place.packages.join("app/build"), "#!/opt/none/bin/perl\nexit 3\n").unwrap();
    assert!(!place.run("app", &[]).fails(1).stderr.contains(missing));
}

#[test]
fn the_images_user_owns_what_it_writes_to() {
    let place = with_image(&json!({"User": "builder", "Env": ["PATH=/bin"]}));
    let source = place.write("data.txt", "data\n");
    place.package(
        "app",
        &json!({"single_source": {"kind": "url", "url": "file://../data.txt", "sha1": sha1_of(std::fs::read(source).unwrap())}})
            .to_string(),
        "id -u > $PKG_PATH/id; echo $HOME >> $PKG_PATH/id
         stat -c '%u:%g' /pkg/src /pkg/src/app /pkg/src/app/data.txt $PKG_PATH $PKG_PATH/pkginfo.json > $PKG_PATH/owners
         echo more >> /pkg/src/app/data.txt; cp /pkg/src/app/data.txt $PKG_PATH
         touch /bin/new 2>/dev/null && may=yes || may=no; echo $may > $PKG_PATH/may; ! chown 0 /pkg/src/app",
    );
    place.run("app", &[]).ok();
    // With one id, root's files are the user's own.
    let may = if tier() == "single" { "yes\n" } else { "no\n" };
    assert_eq!(place.file_of("app", "may"), may);
    assert_eq!(place.file_of("app", "id"), "1000\n/home/builder\n");
    assert_eq!(place.file_of("app", "owners"), "1000:1000\n".repeat(5));
    assert_eq!(place.file_of("app", "data.txt"), "data\nmore\n");
    place.assert_clean();
}

#[test]
fn documents_that_nothing_could_be_installed_from_fail_the_build() {
    let place = Place::new();
    for (number, (script, part)) in [
        ("rm $PKG_PATH/pkginfo.json", "it has no file pkginfo.json"),
        (
            "mv $PKG_PATH/pkginfo.json /pkg/x; ln -s /pkg/x $PKG_PATH/pkginfo.json",
            "no file pkginfo.json",
        ),
        ("echo '{' > $PKG_PATH/pkginfo.json", "pkginfo.json"),
        ("echo '[]' > $PKG_PATH/pkginfo.json", "pkginfo.json"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("p{number}");
        place.package(&name, "{}", script);
        place.run(&name, &[]).fails(1).says(part);
    }
    // For people alone, and the original takes anything there.
    place.package("own", "{}", "echo mine > $PKG_PATH/buildinfo.full.json");
    place.run("own", &[]).ok();
    assert_eq!(place.file_of("own", "buildinfo.full.json"), "mine\n");
}

#[test]
fn the_documents_are_there_and_packaged_as_the_script_leaves_them() {
    let place = Place::new();
    let info = r#"{"environment": {"A": "b"}, "state_directory": true}"#;
    place.package(
        "app",
        info,
        "cat $PKG_PATH/pkginfo.json > $PKG_PATH/before
         cmp $PKG_PATH/buildinfo.full.json /pkg/src/buildinfo.full.json
         cp $PKG_PATH/buildinfo.full.json $PKG_PATH/full
         echo '{}' > $PKG_PATH/pkginfo.json; rm $PKG_PATH/buildinfo.full.json",
    );
    place.run("app", &[]).ok();
    let before: Value = serde_json::from_str(&place.file_of("app", "before")).unwrap();
    assert_eq!(before, json!({"environment": {"A": "b"}, "requires": [], "state_directory": true}));
    let full: Value = serde_json::from_str(&place.file_of("app", "full")).unwrap();
    assert_eq!((&full["name"], &full["variant"]), (&json!("app"), &Value::Null));
    assert_eq!(place.file_of("app", "pkginfo.json"), "{}\n");
    let mut list = std::process::Command::new("tar");
    let listed = list.arg("-tJf").arg(place.archive("app")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(!listed.contains("buildinfo.full.json"), "{listed}");
}

#[test]
fn a_script_that_fails_shows_its_last_words() {
    let place = Place::new();
    place.package("app", "{}", "echo about to fail; echo $'\\e[2Jred' >&2; exit 3");
    place
        .run("app", &[])
        .fails(1)
        .says("the build script exited with code 3")
        .says("| about to fail")
        .says("| ·[2Jred")
        .says("builds/app/")
        .says("hint: the whole log: mkpanda log app\n");
    place.assert_clean();
    let place = Place::host();
    place.package("app", "{}", "exit 3");
    place.run("app", &[]).fails(1).says("exited with code 3").says("mkpanda log app\n");
}
