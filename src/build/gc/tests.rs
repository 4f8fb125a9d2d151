use super::*;
use crate::base::event::Silent;

#[test]
fn what_is_left_counts_the_kinds_that_go_alone() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().to_owned(), None);
    home.mark().unwrap();
    let write = |path: String, bytes: usize| {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, vec![1; bytes]).unwrap();
    };
    write(format!("images/.partial/{}", "a".repeat(64)), 20_000);
    write(format!("parts/1/blocks/{}", "b".repeat(64)), 40_000);
    let collected = |only: Option<BTreeSet<GarbageKind>>| {
        let options = GcOptions { dry_run: true, only, ..GcOptions::default() };
        let isolation = TierRequest { tier: None, root_range: None, search_path: String::new() };
        collect(&home, &isolation, &options, &Silent).unwrap()
    };
    let all = collected(None);
    let downloads = collected(Some([GarbageKind::Download].into()));
    assert_eq!((all.items.len(), downloads.items.len()), (2, 1));
    assert_eq!(downloads.left + downloads.bytes(), all.left + all.bytes(), "the total");
    assert!(downloads.left >= all.left + 40_000, "{} {}", downloads.left, all.left);
}

#[test]
fn files_of_jobs_go_by_their_age_unless_a_job_shares_them() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().to_owned(), None);
    home.mark().unwrap();
    let path = |name: &str| home.remote_jobs().join(name);
    let [alone, shared] = ["a", "b"].map(|letter| path(&format!("pool/{}", letter.repeat(64))));
    let job = path("jobs/.tmp-x");
    fs_err::create_dir_all(path("pool")).unwrap();
    fs_err::create_dir_all(&job).unwrap();
    for file in [&alone, &shared, &path("pool/notes")] {
        fs_err::write(file, [1; 5000]).unwrap();
    }
    fs_err::hard_link(&shared, job.join("layer")).unwrap();
    let collected = |since| {
        let options = GcOptions { since, ..GcOptions::default() };
        let isolation = TierRequest { tier: None, root_range: None, search_path: String::new() };
        let garbage = collect(&home, &isolation, &options, &Silent).unwrap();
        garbage.items.into_iter().map(|item| (item.kind, item.paths)).collect::<Vec<_>>()
    };
    let (hour, now) = (std::time::Duration::from_secs(3600), SystemTime::now());
    assert_eq!(collected(Some(now - hour)), []);
    assert_eq!(collected(Some(now + hour)), [(GarbageKind::Job, vec![alone.clone()])]);
    // The job is that of a run, whatever days are given.
    assert!(!alone.exists() && shared.exists() && job.exists());
    crate::base::removal::remove_all(&job).unwrap();
    assert_eq!(collected(None), [(GarbageKind::Job, vec![shared])]);
    assert!(path("pool/notes").exists());
}

#[test]
fn an_image_that_is_broken_has_the_remedy_of_its_fault_as_a_hint() {
    let source = ImageStoreError::not_found("x");
    let hint = source.hint();
    let error = GcError::Broken { name: "x".to_owned(), source };
    assert!(hint.is_some() && error.hint() == hint);
    assert!(!error.to_string().contains("mkpanda"), "{error}");
}
