//! Processes that lock themselves down as the daemons do and then try what an intruder would: every row of the matrix,
//! in a process of its own, for every role, beside the same attempt without a lockdown where that succeeds. A row that
//! must be allowed stands beside the refused ones: a probe that can do nothing would prove nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a check fails by panicking")]

mod child;
mod raw;
mod rows;
mod starts;
mod world;

use std::panic::catch_unwind;
use std::process::ExitCode;

type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("every_row_of_the_matrix_ends_as_it_must", rows::every_row_of_the_matrix_ends_as_it_must),
    ("without_a_lockdown_the_same_attempts_succeed", rows::without_a_lockdown_the_same_attempts_succeed),
    (
        "without_landlock_ports_are_open_and_the_report_says_so",
        rows::without_landlock_ports_are_open_and_the_report_says_so,
    ),
    ("a_locked_down_process_has_what_the_report_says", starts::a_locked_down_process_has_what_the_report_says),
    ("root_does_not_serve_and_only_root_becomes_another", starts::root_does_not_serve_and_only_root_becomes_another),
    ("a_change_of_user_keeps_the_tie_to_the_launcher", starts::a_change_of_user_keeps_the_tie_to_the_launcher),
    ("what_the_launcher_left_open_is_closed", starts::what_the_launcher_left_open_is_closed),
    (
        "a_socket_that_could_be_pointed_elsewhere_stops_the_start",
        starts::a_socket_that_could_be_pointed_elsewhere_stops_the_start,
    ),
    (
        "a_second_thread_before_the_lockdown_stops_the_start",
        starts::a_second_thread_before_the_lockdown_stops_the_start,
    ),
    ("threads_that_run_already_come_under_the_filter", starts::threads_that_run_already_come_under_the_filter),
    ("a_panic_under_the_filter_ends_with_its_message", starts::a_panic_under_the_filter_ends_with_its_message),
    ("threads_and_allocators_work_under_the_filter", starts::threads_and_allocators_work_under_the_filter),
    ("the_supervisor_is_told_after_the_lockdown", starts::the_supervisor_is_told_after_the_lockdown),
    ("a_process_ends_with_its_launcher_alone", starts::a_process_ends_with_its_launcher_alone),
];

fn main() -> ExitCode {
    if let Some(part) = child::part() {
        return child::run(&part);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        CHECKS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = 0;
    for (name, check) in
        CHECKS.iter().filter(|(name, _)| words.is_empty() || words.iter().any(|w| name.contains(w.as_str())))
    {
        let passed = catch_unwind(check).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
