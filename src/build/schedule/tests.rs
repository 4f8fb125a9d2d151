use proptest::prelude::*;

use super::*;

fn sets(needs: &[&[usize]]) -> Vec<BTreeSet<usize>> {
    needs.iter().map(|needed| needed.iter().copied().collect()).collect()
}

#[test]
fn a_package_starts_when_its_own_needs_are_there() {
    let mut schedule = Schedule::new(sets(&[&[], &[], &[0], &[0, 1]]), &[]);
    assert_eq!((schedule.start(), schedule.start(), schedule.start()), (Some(0), Some(1), None));
    schedule.succeeded(0);
    assert_eq!((schedule.start(), schedule.start()), (Some(2), None));
    schedule.succeeded(1);
    assert_eq!(schedule.start(), Some(3));
}

#[test]
fn what_needs_a_failed_package_is_skipped_and_nothing_else() {
    let mut schedule = Schedule::new(sets(&[&[], &[0], &[1], &[]]), &[]);
    schedule.start();
    schedule.failed(0);
    assert_eq!(schedule.skipped(), &BTreeMap::from([(1, 0), (2, 0)]));
    assert_eq!(schedule.start(), Some(3));
    schedule.succeeded(3);
    assert!(schedule.is_over());
}

#[test]
fn once_stopped_nothing_starts_that_a_running_one_makes_ready() {
    let mut schedule = Schedule::new(sets(&[&[], &[], &[1]]), &[]);
    assert_eq!((schedule.start(), schedule.start()), (Some(1), Some(0)));
    schedule.failed(0);
    schedule.stop();
    schedule.succeeded(1);
    assert_eq!(schedule.start(), None);
    assert!(schedule.is_over());
}

#[test]
fn the_longest_way_goes_first() {
    let needs = sets(&[&[], &[], &[], &[1], &[3]]);
    let forked = sets(&[&[], &[], &[1], &[1], &[3]]);
    let mut schedule =
        Schedule::new(forked, &[3, 1, 1, 1, 2].map(|s| Some(Duration::from_secs(s))));
    assert_eq!(schedule.start(), Some(1), "the longer one of two ways counts");
    let order = |took: &[Option<Duration>]| {
        let mut schedule = Schedule::new(needs.clone(), took);
        let mut order = Vec::new();
        while let Some(package) = schedule.start() {
            schedule.succeeded(package);
            order.push(package);
        }
        order
    };
    // Unknown ones count alike: by the number of those that wait, then in the plan's order.
    assert_eq!(order(&[]), [1, 3, 0, 2, 4]);
    let seconds = |all: [u64; 5]| all.map(|took| (took > 0).then(|| Duration::from_secs(took)));
    assert_eq!(order(&seconds([1, 1, 9, 1, 1])), [2, 1, 3, 0, 4]);
    assert_eq!(order(&seconds([9, 1, 3, 1, 3])), [0, 1, 3, 2, 4]);
    // 2 is unknown: it counts as the middle of those that are known.
    assert_eq!(order(&seconds([1, 1, 0, 3, 9])), [1, 3, 4, 2, 0]);
}

#[test]
fn shares_of_the_cores_add_up_to_the_machine() {
    let mut cores = Cores::new(8, 8);
    let take = |cores: &mut Cores, others| cores.take(others, Demand::Fixed);
    let all = take(&mut cores, 0);
    assert_eq!((all.told, cores.are_free()), (8, false));
    cores.give_back(all);
    assert_eq!([3, 2, 1, 0].map(|others| take(&mut cores, others).told), [2, 2, 2, 2]);
    assert!(!cores.are_free());
    let mut wished = Cores::new(1, 3);
    let shares = [2, 1, 0].map(|others| take(&mut wished, others));
    assert_eq!(shares.map(|share| share.told), [1, 1, 1]);
    assert!(!wished.are_free());
    wished.give_back(shares[0]);
    assert_eq!((take(&mut wished, 0).told, wished.are_free()), (1, false));
}

#[test]
fn one_that_shares_leaves_the_others_what_it_does_not_use() {
    let mut cores = Cores::new(8, 8);
    let first = cores.take(0, Demand::Shared);
    assert_eq!((first.told, first.own), (8, 1));
    let second = cores.take(0, Demand::Fixed);
    assert_eq!((second.told, second.own), (4, 4));
    assert_eq!(cores.take(2, Demand::Shared).told, 1);
    cores.give_back(first);
    cores.give_back(second);
    assert_eq!(cores.take(0, Demand::Fixed).told, 4);
}

/// What may be given of a graph: what each package needs, how long it took, whether it fails.
fn graph() -> impl Strategy<Value = Vec<(Vec<u16>, Option<u8>, bool)>> {
    let package = (
        proptest::collection::vec(any::<u16>(), 0..4),
        any::<Option<u8>>(),
        proptest::bool::weighted(0.1),
    );
    proptest::collection::vec(package, 1..40)
}

/// All that a package needs, directly or not.
fn closure(needs: &[BTreeSet<usize>], package: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut queue = vec![package];
    while let Some(next) = queue.pop() {
        queue.extend(needs[next].iter().copied().filter(|needed| found.insert(*needed)));
    }
    found
}

proptest! {
    #[test]
    fn never_before_its_needs_and_never_idle(
        graph in graph(),
        jobs in 1_usize..9,
        keep_going in any::<bool>(),
        ends in proptest::collection::vec(any::<usize>(), 40),
    ) {
        let needs: Vec<BTreeSet<usize>> = graph.iter().enumerate().map(|(package, (picks, ..))| {
            picks.iter().filter(|_| package > 0).map(|pick| usize::from(*pick) % package.max(1)).collect()
        }).collect();
        let fails = |package: usize| graph[package].2;
        let took: Vec<_> = graph.iter().map(|(_, took, _)| took.map(|took| Duration::from_secs(took.into()))).collect();
        let mut schedule = Schedule::new(needs.clone(), &took);
        let (mut done, mut failed, mut running) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let mut stopped = false;
        let mut ends = ends.into_iter();
        while !schedule.is_over() {
            while running.len() < jobs {
                let Some(package) = schedule.start() else { break };
                prop_assert!(needs[package].is_subset(&done), "{package} began too early");
                prop_assert!(!done.contains(&package) && !failed.contains(&package) && !running.contains(&package), "{package} began twice");
                prop_assert!(!stopped, "{package} began after the end");
                running.push(package);
            }
            prop_assert_eq!(schedule.running(), running.len());
            if running.len() < jobs && !stopped {
                let left = (0..needs.len()).filter(|package| !done.contains(package) && !failed.contains(package) && !running.contains(package));
                for package in left {
                    prop_assert!(!needs[package].is_subset(&done), "{package} is kept waiting");
                }
            }
            let package = running.remove(ends.next().unwrap_or(0) % running.len());
            if fails(package) {
                schedule.failed(package);
                failed.insert(package);
                if !keep_going {
                    schedule.stop();
                    stopped = true;
                }
            } else {
                schedule.succeeded(package);
                done.insert(package);
            }
        }
        // All that can be built is; what is skipped has a failed package among what it needs.
        for (package, because) in schedule.skipped() {
            prop_assert!(failed.contains(because) && closure(&needs, *package).contains(because));
        }
        for package in 0..needs.len() {
            let hopeless = !closure(&needs, package).is_disjoint(&failed);
            prop_assert_eq!(hopeless, schedule.skipped().contains_key(&package));
            let fate = [done.contains(&package), failed.contains(&package), hopeless];
            let fates = fate.iter().filter(|fate| **fate).count();
            prop_assert!(fates == 1 || (stopped && fates == 0), "{package}: {fate:?}");
        }
    }

    #[test]
    fn cores_are_never_given_twice_nor_kept_back(
        steps in proptest::collection::vec((any::<bool>(), any::<usize>(), 0_usize..8), 1..60),
        machine in 1_usize..9,
        jobs in 1_usize..9,
    ) {
        let mut cores = Cores::new(machine, jobs);
        let mut taken: Vec<Share> = Vec::new();
        for (sharing, which, others) in steps {
            let own: usize = taken.iter().map(|share| share.own).sum();
            prop_assert!(own <= machine.max(jobs));
            // No core is free while a build may not start.
            prop_assert_eq!(cores.are_free(), own < machine.max(jobs));
            if cores.are_free() && which % 3 != 0 {
                let share = cores.take(others, if sharing { Demand::Shared } else { Demand::Fixed });
                prop_assert!((1..=machine).contains(&share.told) && share.own <= share.told);
                taken.push(share);
            } else if !taken.is_empty() {
                cores.give_back(taken.swap_remove(which % taken.len()));
            }
        }
    }
}
