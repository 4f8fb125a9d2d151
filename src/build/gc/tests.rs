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
fn an_image_that_is_broken_has_the_remedy_of_its_fault_as_a_hint() {
    let source = ImageStoreError::not_found("x");
    let hint = source.hint();
    let error = GcError::Broken { name: "x".to_owned(), source };
    assert!(hint.is_some() && error.hint() == hint);
    assert!(!error.to_string().contains("mkpanda"), "{error}");
}
