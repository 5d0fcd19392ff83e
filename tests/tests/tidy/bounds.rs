//! Every bound of the host and of the server is driven to full by a test: which, stands here.

use std::fs;

use crate::root;

/// Each bound of `runtime/wasm/src/limits.rs`, and the test that drives it, `FILE:FUNCTION` from `runtime/wasm`.
const WASM: [(&str, &str); 23] = [
    ("INSTANCES", "tests/host/calls.rs:a_pool_without_a_free_place_is_the_hosts_fault_and_recovers"),
    ("CORE_INSTANCES_PER_INSTANCE", "tests/host/bounds.rs:a_component_has_so_many_core_instances"),
    ("TABLES_PER_INSTANCE", "tests/host/bounds.rs:a_component_has_so_many_tables_of_so_many_entries"),
    ("TABLE_ELEMENTS", "tests/host/bounds.rs:a_component_has_so_many_tables_of_so_many_entries"),
    ("MEMORIES_PER_INSTANCE", "tests/host/bounds.rs:a_component_has_so_many_memories"),
    ("GUEST_STACK_BYTES", "tests/host/vices.rs:endless_recursion_is_a_trap_with_its_first_frames"),
    (
        "EPOCH_TICK",
        "tests/host/vices.rs:a_guest_that_never_comes_back_meets_its_deadline_and_was_told_to_be_slow_once",
    ),
    ("INSTANTIATION_DEADLINE", "tests/host/bounds.rs:an_instantiation_that_never_ends_meets_its_deadline"),
    ("WATERMARK_PERCENT", "tests/host/calls.rs:an_instance_that_leaks_is_replaced_and_goes_on"),
    ("BACKTRACE_FRAMES", "tests/host/vices.rs:endless_recursion_is_a_trap_with_its_first_frames"),
    ("COMPILE_CPU", "tests/host/compiling.rs:the_child_is_told_its_limits_and_has_an_environment_of_its_own"),
    (
        "COMPILE_MEMORY_BYTES",
        "tests/host/compiling.rs:the_child_is_told_its_limits_and_has_an_environment_of_its_own",
    ),
    ("COMPILE_TIME", "tests/host/compiling.rs:a_compilation_that_takes_too_long_is_ended"),
    (
        "COMPILE_NICE",
        "../cli/tests/e2e/compiling.rs:a_compilation_has_limits_and_a_lower_priority_before_it_reads_anything",
    ),
    ("COMPILE_WORDS_BYTES", "tests/host/compiling.rs:last_words_are_cut_and_read_to_their_end"),
    ("CACHE_ENTRIES", "tests/host/caching.rs:only_the_newest_entries_are_kept"),
    ("PLUGIN_BYTES", "tests/host/bounds.rs:a_plugin_has_so_many_bytes"),
    ("LOG_LINE_BYTES", "tests/host/vices.rs:log_lines_are_cut_rationed_and_placed"),
    ("LOG_LINES_PER_SECOND", "src/logs.rs:lines_beyond_the_ration_are_counted_and_told_with_the_next"),
    ("SCAN_ENTRIES", "tests/host/bounds.rs:a_page_of_a_scan_has_so_many_entries"),
    ("SCAN_BYTES", "tests/host/bounds.rs:a_page_of_a_scan_has_so_many_bytes_or_one_entry"),
    ("STABLE_AFTER", "src/directory/ledger.rs:a_growing_file_is_taken_once_it_is_stable"),
    ("RESCAN_EVERY", "tests/host/bounds.rs:the_directory_is_read_anew_when_nobody_tells_of_a_change"),
];

/// The same for `runtime/server`.
const SERVER: [(&str, &str); 17] = [
    ("BODY_BYTES_MAX", "../cli/tests/e2e/bounds.rs:bodies_and_events_are_taken_up_to_their_bounds"),
    (
        "DISCARDED_BYTES_MAX",
        "../cli/tests/e2e/bounds.rs:a_body_far_too_large_is_read_up_to_a_bound_and_then_cut_off",
    ),
    ("EVENT_BYTES_MAX", "../cli/tests/e2e/bounds.rs:bodies_and_events_are_taken_up_to_their_bounds"),
    ("BLOCK_BYTES_MAX", "src/publish/tests.rs:blocks_are_cut_at_their_limit_and_keep_the_order"),
    ("PUBLISH_COLUMN_BYTES_MAX", "src/publish/tests.rs:events_and_publishes_are_bounded"),
    ("JSON_DEPTH_MAX", "../../sdk/json/src/lib.rs:a_value_is_nested_up_to_the_bound"),
    ("POINTER_BYTES_MAX", "src/publish/pointer.rs:what_is_no_pointer_is_refused_with_its_rule"),
    (
        "IDEMPOTENCY_KEY_BYTES_MAX",
        "../cli/tests/e2e/bounds.rs:settings_and_idempotency_keys_are_taken_up_to_their_bounds",
    ),
    (
        "RETRY_AFTER",
        "../cli/tests/e2e/bounds.rs:publishers_beyond_the_backlog_are_asked_to_come_again_and_nothing_is_lost",
    ),
    ("INLINE_BODY_BYTES_MAX", "../cli/tests/e2e/bounds.rs:bodies_and_events_are_taken_up_to_their_bounds"),
    ("READ_CHUNK_BYTES", "src/http/read.rs:a_reader_holds_no_more_events_and_bytes_than_it_may"),
    ("READER_BYTES_MAX", "src/http/read.rs:a_reader_holds_no_more_events_and_bytes_than_it_may"),
    ("READER_BATCH_EVENTS_MAX", "src/http/read.rs:a_reader_holds_no_more_events_and_bytes_than_it_may"),
    ("READERS_MAX", "../cli/tests/e2e/bounds.rs:a_follower_that_goes_away_gives_its_place_to_another"),
    ("DRAIN_MAX", "src/tasks.rs:a_task_that_does_not_end_in_time_is_stopped"),
    (
        "SMALL_BODY_BYTES_MAX",
        "../cli/tests/e2e/bounds.rs:settings_and_idempotency_keys_are_taken_up_to_their_bounds",
    ),
    ("DEAD_LETTERS_MAX", "../cli/tests/e2e/handlers.rs:one_answer_lists_so_many_dead_letters"),
];

/// What is wrong between the bounds of the crate in `folder` and its list.
fn findings(folder: &str, list: &[(&str, &str)]) -> Vec<String> {
    let folder = root().join(folder);
    let limits = fs::read_to_string(folder.join("src/limits.rs")).unwrap();
    let bounds: Vec<&str> =
        limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    let is_listed = |bound: &&&str| list.iter().any(|(listed, _)| *listed == **bound);
    let untested = bounds.iter().filter(|bound| !is_listed(bound));
    let mut findings: Vec<String> = untested.map(|bound| format!("{bound} is driven by no test")).collect();
    for (bound, test) in list {
        if !bounds.contains(bound) {
            findings.push(format!("{bound} is no bound of {}", folder.display()));
        }
        let (file, function) = test.split_once(':').unwrap();
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        if !text.contains(&format!("#[test]\nfn {function}()"))
            && !text.contains(&format!("#[test]\n    fn {function}()"))
        {
            findings.push(format!("{bound}: there is no test {test}"));
        }
    }
    findings
}

#[test]
fn every_bound_has_a_test_that_drives_it_to_full() {
    let mut found = findings("runtime/wasm", &WASM);
    found.extend(findings("runtime/server", &SERVER));
    assert!(found.is_empty(), "{}", found.join("\n"));
}
