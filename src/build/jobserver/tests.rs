use proptest::prelude::*;

use super::*;

/// A jobserver in a folder of its own, and the fifo as a build has it.
struct Try {
    server: Jobserver,
    fifo: File,
    _folder: tempfile::TempDir,
}

fn start(cores: usize) -> Try {
    let folder = tempfile::tempdir().unwrap();
    let server = Jobserver::start(folder.path(), cores, Style::Auto).unwrap();
    let fifo = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&server.fifo)
        .unwrap();
    Try { server, fifo, _folder: folder }
}

impl Try {
    /// Takes tokens as a build would, at most as many as it wants; gives how many it got.
    fn take(&self, wanted: usize) -> usize {
        (&self.fifo).read(&mut vec![0; wanted]).unwrap_or(0)
    }

    fn put(&self, count: usize) {
        (&self.fifo).write_all(&vec![b'x'; count]).unwrap();
    }

    /// Waits until what is in the fifo is this.
    fn holds_soon(&self, expected: usize) {
        let began = std::time::Instant::now();
        loop {
            let found = self.take(9999);
            self.put(found);
            if found == expected {
                return;
            }
            assert!(began.elapsed().as_secs() < 20, "{found} instead of {expected}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_build_has_its_own_core_and_the_others_are_for_all() {
    let place = start(8);
    assert_eq!(place.server.begin(1, true).cores, 8);
    assert_eq!(place.take(99), 7);
    place.put(7);
    place.server.begin(3, true);
    assert_eq!(place.take(99), 4);
    place.put(4);
    place.server.end(3, 1, false);
    place.server.end(1, 0, false);
    assert_eq!(place.take(99), 8);
}

#[test]
fn what_a_killed_build_took_is_put_back() {
    let place = start(8);
    place.server.begin(1, true);
    assert_eq!(place.take(99), 7);
    place.server.end(1, 0, true);
    assert_eq!(place.take(99), 8);
    place.put(8);
    // Beside two others its share of what is missing is put back; at the end, all.
    (0..3).for_each(|_| drop(place.server.begin(1, true)));
    assert_eq!(place.take(5), 5);
    place.server.end(1, 2, true);
    assert_eq!(place.take(99), 1 + 2);
    place.server.end(1, 1, false);
    place.server.end(1, 0, false);
    assert_eq!(place.take(99), 8);
}

#[test]
fn tokens_that_nobody_took_are_dropped() {
    let place = start(4);
    place.server.begin(1, true);
    place.put(5000);
    // While the build runs: within the interval.
    place.holds_soon(3);
    place.put(60000);
    place.server.begin(1, true);
    assert_eq!(place.take(9999), 2);
}

#[test]
fn a_full_fifo_stops_nobody_for_long() {
    let place = start(4);
    place.server.begin(1, true);
    while (&place.fifo).write(&[b'x'; 4096]).is_ok() {}
    place.holds_soon(3);
}

#[test]
fn what_others_have_is_collected_when_they_put_it_back() {
    let place = start(4);
    place.server.begin(1, true);
    assert_eq!(place.take(3), 3);
    place.server.begin(1, true);
    place.server.begin(1, true);
    place.put(1);
    place.holds_soon(0);
    place.put(2);
    place.holds_soon(1);
    place.server.end(1, 2, false);
    assert_eq!(place.take(99), 2);
}

#[test]
fn others_can_open_the_fifo_and_nothing_is_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Jobserver::start(folder.path(), 2, Style::Auto).unwrap();
    let mode = fs_err::metadata(&server.fifo).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o666);
    let began = std::time::Instant::now();
    drop(server);
    assert!(began.elapsed() < Duration::from_millis(500), "dropping it waits for nothing");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
}

/// What builds do: how many tokens a build wants to have, or that it begins or ends.
#[derive(Debug, Clone)]
enum Step {
    Begin(usize),
    End(usize, bool),
    Want(usize, usize),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_usize..4).prop_map(Step::Begin),
        (any::<usize>(), any::<bool>()).prop_map(|(which, killed)| Step::End(which, killed)),
        (any::<usize>(), 0_usize..9).prop_map(|(which, wanted)| Step::Want(which, wanted)),
        Just(Step::Look),
    ]
}

proptest! {
    /// Builds that put back what they took never use more cores than there are, but for a debt, and
    /// no core that nobody has is kept from them.
    #[test]
    fn honest_builds_have_all_cores_and_no_more(steps in proptest::collection::vec(step(), 1..60)) {
        const CORES: usize = 8;
        let mut book = Book { cores: CORES, ..Book::default() };
        let mut fifo = book.balance(0, |_| 0);
        // Each build's own cores and its tokens.
        let mut builds: Vec<(usize, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Begin(own) => {
                    builds.push((own, 0));
                    book.reserved += own;
                    fifo = book.balance(fifo, |_| 0);
                }
                Step::End(which, _) if !builds.is_empty() => {
                    let (own, tokens) = builds.remove(which % builds.len());
                    book.reserved -= own;
                    fifo = book.balance(fifo + tokens, |held| lost(held, builds.len(), false));
                }
                Step::Want(which, wanted) if !builds.is_empty() => {
                    let which = which % builds.len();
                    let (_, tokens) = &mut builds[which];
                    let taken = wanted.saturating_sub(*tokens).min(fifo);
                    fifo = fifo + tokens.saturating_sub(wanted) - taken;
                    *tokens = (*tokens).min(wanted) + taken;
                }
                _ => fifo = book.balance(fifo, |_| 0),
            }
            let own: usize = builds.iter().map(|(own, _)| own).sum();
            let held: usize = builds.iter().map(|(_, tokens)| tokens).sum();
            prop_assert_eq!(book.out, fifo + held, "the book is right");
            if book.is_in_debt() {
                fifo = book.balance(fifo, |_| 0);
            }
            if book.is_in_debt() {
                prop_assert_eq!(fifo, 0, "a debt is collected first");
            } else {
                prop_assert_eq!(fifo + held, CORES.saturating_sub(own));
            }
        }
    }

    /// Whatever builds do, all cores are there when the last has ended, and no more.
    #[test]
    fn nothing_that_builds_do_outlives_them(
        steps in proptest::collection::vec((step(), 0_usize..20), 1..60),
    ) {
        let mut book = Book { cores: 8, ..Book::default() };
        let mut fifo = book.balance(0, |_| 0);
        let mut builds = Vec::new();
        for (step, left) in steps {
            match step {
                Step::Begin(own) => {
                    builds.push(own);
                    book.reserved += own;
                    fifo = book.balance(fifo, |_| 0);
                }
                Step::End(which, killed) if !builds.is_empty() => {
                    book.reserved -= builds.remove(which % builds.len());
                    fifo = book.balance(fifo, |held| lost(held, builds.len(), killed));
                }
                Step::Look => fifo = book.balance(fifo, |_| 0),
                // Tokens vanish or come from nowhere.
                _ => fifo = left,
            }
            prop_assert!(fifo <= 20);
            prop_assert!(book.out >= book.due(), "no core is forgotten");
        }
        while let Some(own) = builds.pop() {
            book.reserved -= own;
            fifo = book.balance(fifo, |held| lost(held, builds.len(), false));
            if builds.is_empty() {
                prop_assert_eq!((fifo, book.out), (8, 8));
            }
        }
    }
}
