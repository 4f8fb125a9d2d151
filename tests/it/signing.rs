//! Signatures: keys that are made and shown, and repositories of which signatures are required.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mkpanda::base::digest::Sha256Sum;
use mkpanda::store::signature::Signer;

use crate::outcome::{bootstrap_id, rich_tree, sums};
use crate::server::Server;
use crate::support::{Place, Ran, files_below};
use crate::tree::built;

/// A key pair in a folder.
pub struct Key {
    signer: Signer,
    pub secret: PathBuf,
    pub id: String,
    /// The public key.
    pub line: String,
}

impl Key {
    pub fn new(folder: &Path, name: &str) -> Self {
        let secret = folder.join(format!("{name}.key"));
        let signer = Signer::create(&secret, None).unwrap();
        let (id, line) = (signer.key().id().to_string(), signer.key().line().to_owned());
        Self { signer, secret, id, line }
    }

    pub fn option(&self) -> String {
        format!("--require-signature={}", self.line)
    }

    /// Writes the signature of a file under an id.
    pub fn sign(&self, file: &Path, id: &str) {
        let content = std::fs::read(file).unwrap();
        let text = self.signer.sign(&content[..], id, &Sha256Sum::of(&content)).unwrap();
        std::fs::write(beside(file), text).unwrap();
    }

    /// Writes a signature as minisign made them once.
    pub fn sign_legacy(&self, file: &Path) {
        let status = Command::new("minisign")
            .args(["-S", "-l", "-s"])
            .arg(&self.secret)
            .arg("-m")
            .arg(file)
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("minisign is missing; run: scripts/test prepare").success());
    }
}

/// The signature of a file.
pub fn beside(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.minisig", file.display()))
}

/// Cuts a file off.
pub fn halve(file: &Path) {
    let content = std::fs::read(file).unwrap();
    std::fs::write(file, &content[..content.len() / 2]).unwrap();
}

/// A tree that is built and signed, the same one that is not built, and the key.
fn two() -> (Place, Place, Key) {
    let (here, there) = (rich_tree(), rich_tree());
    there.run(".", &["tree", "--mkbootstrap"]).ok();
    let key = Key::new(there.path(), "good");
    for path in files_below(&there.packages.join("cache")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(id) = name.strip_suffix(".tar.xz") else { continue };
        let is_bootstrap = name.ends_with(".bootstrap.tar.xz");
        key.sign(&path, &if is_bootstrap { format!("bootstrap/{name}") } else { id.to_owned() });
    }
    (here, there, key)
}

fn file_url(place: &Place) -> String {
    format!("--repository-url=file://{}", place.packages.join("cache").display())
}

fn fetched(ran: &Ran) -> usize {
    ran.stderr.lines().filter(|line| line.trim_start().starts_with("fetched ")).count()
}

fn id_of(archive: &Path) -> String {
    let name = archive.file_name().unwrap().to_string_lossy();
    name.strip_suffix(".tar.xz").unwrap().to_owned()
}

#[test]
fn what_a_trusted_key_signed_is_used() {
    let (here, there, key) = two();
    let server = Server::files(&there.packages.join("cache"));
    for url in [file_url(&there), format!("--repository-url={}", server.url(""))] {
        let here = rich_tree();
        let ran = here.run(".", &["tree", "--mkbootstrap", &url, &key.option()]).ok();
        assert_eq!((built(&ran.stderr), fetched(&ran)), (vec![], 3), "{}", ran.stderr);
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        let count = sums(&here).keys().filter(|name| name.ends_with(".tar.xz")).count();
        assert_eq!(count, 4);
        here.assert_clean();
    }
    // The user's configuration names the key, by its file.
    std::fs::create_dir_all(here.path().join(".config/mkpanda")).unwrap();
    std::fs::copy(there.path().join("good.pub"), here.path().join(".config/mkpanda/k.pub"))
        .unwrap();
    here.user("trusted_keys = ['k.pub']\n");
    let ran = here.run("rest", &["--require-signature", &file_url(&there)]).ok();
    assert_eq!(fetched(&ran), 1, "{}", ran.stderr);
    // A key that is named counts instead.
    let other = Key::new(here.path(), "other");
    let ran = here.run("lib", &[&other.option(), &file_url(&there)]).ok();
    assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (1, 0), "{}", ran.stderr);
    // And any of several.
    let ran = here.run("p", &[&other.option(), &key.option(), &file_url(&there)]).ok();
    assert_eq!(fetched(&ran), 1, "{}", ran.stderr);
}

#[test]
fn what_nobody_trusted_signed_is_built_with_a_warning() {
    let (here, there, key) = two();
    let archive = there.archive("rest");
    let object = format!("packages/rest/{}", archive.file_name().unwrap().to_string_lossy());
    let build = |said: &[&str]| {
        let here = rich_tree();
        here.user(&format!("revoked_keys = ['{}']\n", "0".repeat(16)));
        let ran = here.run("rest", &[&file_url(&there), &key.option()]).ok();
        assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (1, 0), "{}", ran.stderr);
        let warnings: Vec<&str> =
            ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings.len(), 1, "{}", ran.stderr);
        let place = there.packages.join("cache").display().to_string();
        for text in [&[object.as_str(), &place, &key.id], said].concat() {
            assert!(warnings[0].contains(text), "no {text} in {}", warnings[0]);
        }
        here.assert_clean();
    };
    let other = Key::new(there.path(), "other");
    other.sign(&archive, &id_of(&archive));
    build(&[&other.id, "is not trusted"]);
    std::fs::remove_file(beside(&archive)).unwrap();
    build(&["it has no signature"]);
    // What is not there at all is not worth a warning.
    std::fs::rename(&archive, archive.with_extension("gone")).unwrap();
    let ran = here.run("rest", &[&file_url(&there), &key.option()]).ok();
    assert!(built(&ran.stderr).len() == 1 && !ran.stderr.contains("warning"), "{}", ran.stderr);
    // A key that was revoked, by its id or as a whole.
    for revoked in [&key.id, &key.line] {
        let here = rich_tree();
        here.user(&format!(
            "trusted_keys = ['{}', '{}']\nrevoked_keys = ['{revoked}']\n",
            key.line, other.line
        ));
        let ran = here.run("lib", &[&file_url(&there), "--require-signature"]).ok();
        let said = format!("signed by key {}, which is revoked; trusted: {}", key.id, other.id);
        ran.says(&said).says("packages/lib/lib--");
        assert_eq!(std::fs::read_dir(here.packages.join("cache/packages")).unwrap().count(), 1);
    }
    let ran = here.run("lib", &[&file_url(&there)]).ok();
    assert_eq!(fetched(&ran), 1, "without the demand nothing is asked: {}", ran.stderr);
}

#[test]
fn a_signature_that_is_wrong_ends_the_build() {
    let (_, there, key) = two();
    let archive = there.archive("rest");
    let (content, signature) =
        (std::fs::read(&archive).unwrap(), std::fs::read(beside(&archive)).unwrap());
    let refused = |said: &str| {
        let here = rich_tree();
        let ran = here.run("rest", &[&file_url(&there), &key.option()]).fails(1);
        assert_eq!(built(&ran.stderr), [""; 0]);
        let ran = ran.says("packages/rest/rest--").says("cannot be trusted").says(said);
        assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
        let left = files_below(&here.packages.join("cache"));
        assert!(left.is_empty(), "{left:?}");
        here.assert_clean();
        std::fs::write(&archive, &content).unwrap();
        std::fs::write(beside(&archive), &signature).unwrap();
    };
    // Another archive with the signature of this one, and with its own: a package under another's name.
    let lib = there.archive("lib");
    std::fs::copy(&lib, &archive).unwrap();
    refused(&format!("key {} did not sign this file", key.id));
    std::fs::copy(&lib, &archive).unwrap();
    std::fs::copy(beside(&lib), beside(&archive)).unwrap();
    refused(&format!("key {} signed it as {}, and rest--", key.id, id_of(&lib)));
    // The comment alone is changed.
    let text = String::from_utf8(std::fs::read(beside(&lib)).unwrap()).unwrap();
    std::fs::copy(&lib, &archive).unwrap();
    std::fs::write(beside(&archive), text.replace(&id_of(&lib), &id_of(&archive))).unwrap();
    refused("did not sign this file");
    halve(&beside(&archive));
    refused("its signature (.minisig) is not one of minisign");
    std::fs::write(beside(&archive), "").unwrap();
    refused("it is empty");
    std::fs::write(beside(&archive), vec![b'x'; 100_000]).unwrap();
    refused("more than 4096 bytes");
    let text = String::from_utf8(signature.clone()).unwrap();
    std::fs::write(beside(&archive), format!("{text}{text}")).unwrap();
    refused("8 lines instead of 4");
    std::fs::write(beside(&archive), text.replace("id=", "id=\u{1b}[31m")).unwrap();
    refused("not plain text");
    std::fs::remove_file(beside(&archive)).unwrap();
    key.sign_legacy(&archive);
    refused("legacy form");
}

#[test]
fn a_bootstrap_needs_a_signature_of_its_own() {
    let (here, there, key) = two();
    let name = format!("{}.bootstrap.tar.xz", bootstrap_id(&there));
    let archive = there.packages.join("cache/bootstrap").join(&name);
    std::fs::remove_file(beside(&archive)).unwrap();
    let arguments = ["tree", "--mkbootstrap", &file_url(&there), &key.option()];
    let ran = here.run(".", &arguments).ok();
    assert_eq!(fetched(&ran), 3);
    let said = format!("bootstrap/{name} from {}", there.packages.join("cache").display());
    ran.says(&said).says("it has no signature");
    // That of a package, or of the list beside it, does not count.
    for (file, id) in [("p", ""), ("", "bootstrap/x.active.json")] {
        if file.is_empty() {
            key.sign(&archive, id);
        } else {
            std::fs::copy(beside(&there.archive(file)), beside(&archive)).unwrap();
        }
        let here = rich_tree();
        here.run(".", &arguments).fails(1).says(&name).says("cannot be trusted");
        assert!(files_below(&here.packages.join("cache/bootstrap")).is_empty());
    }
}

#[test]
fn only_the_user_names_keys() {
    let (here, there, key) = two();
    for name in ["trusted_keys", "revoked_keys"] {
        let here = rich_tree();
        here.configure_first(&format!("{name} = ['{}']\n", key.line));
        let ran = here.run("rest", &["--require-signature", &file_url(&there)]).fails(1);
        ran.says(&format!("{name} counts in your own configuration alone"));
    }
    let refused = |arguments: &[&str], said: &str| {
        here.run("rest", &[arguments, &["--dry-run"]].concat()).fails(1).says(said);
    };
    refused(&["--require-signature"], "no key is trusted");
    refused(&["--require-signature="], "config.toml: trusted_keys = ");
    refused(&["--require-signature", "gone.pub"], "\"gone.pub\" is neither a public key");
    refused(&["--require-signature=gone.pub"], "write --require-signature= or put the option last");
    let secret = std::fs::read_to_string(&key.secret).unwrap();
    let ran = here.run("rest", &["--require-signature", secret.lines().nth(1).unwrap()]).fails(1);
    assert!(!ran.stderr.contains("RWQA"), "{}", ran.stderr);
    ran.says("it is a secret key");
    here.user("trusted_keys = ['gone.pub']\n");
    refused(&[], "config.toml: trusted_keys: \"gone.pub\" is neither");
    here.user(&format!("trusted_keys = ['{}']\nrevoked_keys = ['{}']\n", key.line, key.id));
    refused(&["--require-signature"], "no key is trusted (1 are revoked)");
    here.run("rest", &["--dry-run"]).ok();
}

fn json(ran: Ran) -> serde_json::Value {
    serde_json::from_str(&ran.ok().stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn keys_are_made_once_and_shown() {
    let mut place = Place::bare();
    let path = |name: &str| place.packages.join(name);
    let (secret, public) = (path("k.key"), path("k.pub"));
    let made = place.run(".", &["key", "new", "k.key", "--no-password"]).ok().stdout;
    assert_eq!((mode(&secret), mode(&public)), (0o600, 0o644));
    let (id, line) = made.trim_end().split_once(' ').unwrap();
    assert!(std::fs::read_to_string(&public).unwrap().ends_with(&format!("{line}\n")));
    // Of an open secret key, the public one is known by itself.
    std::fs::remove_file(&public).unwrap();
    assert_eq!(place.run(".", &["key", "show", "k.key"]).ok().stdout, made);
    let before = std::fs::read(&secret).unwrap();
    place.run(".", &["key", "new", "k.key", "--no-password"]).fails(1).says("never overwritten");
    assert_eq!(std::fs::read(&secret).unwrap(), before);
    let shown = json(place.run(".", &["key", "show", "k.key", "--format=json"]));
    assert_eq!((&shown["id"], &shown["public_key"]), (&id.into(), &line.into()));
    assert_eq!((&shown["secret"], &shown["encrypted"]), (&true.into(), &false.into()));

    // Without a file, beside the user's configuration.
    let home = place.path().join(".config/mkpanda");
    let made = json(place.run(".", &["key", "new", "--no-password", "--format=json"]));
    assert_eq!(made["secret_file"], home.join("signing.key").to_str().unwrap());
    let shown = place.run(".", &["key", "show", home.join("signing.pub").to_str().unwrap()]).ok();
    assert!(shown.stdout.ends_with(&format!("{}\n", made["public_key"].as_str().unwrap())));

    // With a password, of a file or a variable.
    let password = place.path().join("password");
    std::fs::write(&password, "first line\nsecond").unwrap();
    let file = ("MKPANDA_KEY_PASSWORD_FILE".to_owned(), password.display().to_string());
    place.variables.push(file);
    let made = place.run(".", &["key", "new", "locked.key"]).ok();
    assert!(!made.stderr.contains("first line"), "{}", made.stderr);
    std::fs::remove_file(place.packages.join("locked.pub")).unwrap();
    assert_eq!(place.run(".", &["key", "show", "locked.key"]).ok().stdout, made.stdout);
    place.variables = vec![("MKPANDA_KEY_PASSWORD".to_owned(), "first line".to_owned())];
    assert_eq!(place.run(".", &["key", "show", "locked.key"]).ok().stdout, made.stdout);
    place.variables[0].1 = "wrong".to_owned();
    let ran = place.run(".", &["key", "show", "locked.key"]).fails(1);
    ran.says("the password does not decrypt");
    place.variables[0].0 = "MKPANDA_KEY_PASSWORD_FILE".to_owned();
    place.run(".", &["key", "show", "locked.key"]).fails(1).says("cannot read the password");
    // Without any, and without a terminal to ask at.
    place.variables.clear();
    for (arguments, said) in [
        (["key", "show", "locked.key"], "no password is given"),
        (["key", "new", "another.key"], "or have none: --no-password"),
    ] {
        let mut command = Command::new("setsid");
        let own = place.command(".", &arguments);
        command.arg("--wait").arg(own.get_program()).args(own.get_args());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(&place.packages).stdin(Stdio::null());
        crate::support::ran(&command.output().unwrap()).fails(1).says(said);
    }
    assert!(!place.packages.join("another.key").exists());
    place.write("nothing", "x");
    place.run(".", &["key", "show", "nothing"]).fails(1).says("is not a public key of minisign");
    place.run(".", &["key", "show", "gone"]).fails(1).says("gone\" is neither a public key");
}

/// Types lines at a terminal, each when it is asked for, and gives all that was shown.
fn typed(place: &Place, arguments: &str, lines: &[(&str, &str)]) -> String {
    let own = place.command(".", &[]);
    let line = format!("{} {arguments}; stty -a", own.get_program().to_string_lossy());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("SHELL", "/bin/sh")
        .current_dir(&place.packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut lines, mut buffer) = (String::new(), lines.iter().peekable(), [0; 4096]);
    loop {
        let count = stdout.read(&mut buffer).unwrap();
        shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if let Some((_, text)) = lines.next_if(|(prompt, _)| shown.ends_with(prompt)) {
            // The prompt is shown before the terminal is told not to show what is typed.
            std::thread::sleep(Duration::from_millis(500));
            stdin.write_all(text.as_bytes()).unwrap();
        }
        if count == 0 {
            break;
        }
    }
    drop(stdin);
    child.wait().unwrap();
    // Whatever happened, the terminal is as it was.
    assert!(shown.contains(" echo ") && shown.contains("isig"), "{shown}");
    assert!(!shown.contains("-echo ") && !shown.contains("-isig"), "{shown}");
    shown
}

#[test]
fn a_password_is_typed_twice_and_never_shown() {
    let place = Place::bare();
    let (first, again) = ("Password of the new key: ", "The same again: ");
    let shown = typed(&place, "key new k.key", &[(first, "one\n"), (again, "two\n")]);
    assert!(shown.contains("the two passwords differ"), "{shown}");
    let shown = typed(&place, "key new k.key", &[(first, "\n")]);
    assert!(shown.contains("the password is empty"), "{shown}");
    typed(&place, "key new k.key", &[(first, "\u{3}")]);
    assert_eq!(files_below(&place.packages), [""; 0].map(PathBuf::from));
    let shown = typed(&place, "key new k.key", &[(first, "s3cret\n"), (again, "s3cret\n")]);
    assert!(!shown.contains("s3cret") && shown.contains(" RW"), "{shown}");
    std::fs::remove_file(place.packages.join("k.pub")).unwrap();
    let prompt = "k.key: ";
    let shown = typed(&place, "key show k.key", &[(prompt, "s3cret\n")]);
    assert!(!shown.contains("s3cret") && shown.contains(" RW"), "{shown}");
}
