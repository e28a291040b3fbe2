//! End to end, through real processes: every group of checks has one network, started as an operator would start it.
//! A check that is not run says so; none passes unseen.
//!
//! `cargo test --test e2e -- WORD…` runs the checks whose name has a word. TORUS_LONG=1 runs the long groups too.
//! TORUS_E2E_PORT=N moves the networks from port 18000 to N and the 799 above.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a check fails by panicking")]

mod audit;
mod client;
mod devnet;
mod dns;
mod faults;
mod harness;
mod js;
mod listed;
mod logins;
mod long;
mod names;
mod residue;
mod rpc;
mod theft;
mod twins;
mod window;
mod wire;

use std::process::ExitCode;

use devnet::{Devnet, LOCKED};
use harness::{Group, World, checks};

impl World for Devnet {
    fn start(name: &str, members: u8, port: u16, keys: Option<u32>) -> Self {
        let more = [names::arguments(name, port), listed::arguments(name)].concat();
        Self::start_with(name, members, port, keys, more)
    }

    fn make_whole(&mut self) {
        self.make_whole();
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, rest @ ..] = args.as_slice()
        && word == residue::unseal::WORD
    {
        residue::unseal::print(rest);
        return ExitCode::SUCCESS;
    }
    harness::run("e2e", groups())
}

fn groups() -> Vec<Group<Devnet>> {
    vec![
        Group {
            name: "five",
            members: 5,
            port: 0,
            keys: Some(256),
            long: false,
            checks: checks![
                logins::a_new_user_gets_a_key_and_keeps_it,
                logins::two_users_have_two_keys,
                logins::an_account_can_be_resolved_before_its_first_login,
                logins::names_that_differ_in_case_are_one_user,
                wire::every_member_answers_a_lookup_in_the_same_words,
                wire::an_assignment_is_once_and_seen_everywhere_within_a_second,
                wire::both_generations_of_clients_see_one_key,
                wire::a_commitment_is_as_the_real_clients_read_it,
                wire::what_is_not_served_is_refused_in_words,
                wire::malformed_requests_cost_one_answer_each,
                wire::any_origin_may_call_even_null,
                wire::the_admin_port_tells_health_readiness_and_metrics,
                theft::an_honest_login_by_hand_gets_a_share_from_every_member,
                theft::the_twin_of_a_token_by_its_other_s_gets_nothing,
                theft::the_twin_of_a_token_in_lax_base64_gets_nothing,
                theft::a_token_under_a_policy_that_does_not_promise_low_s_gets_nothing,
                theft::one_token_under_two_verifiers_gets_nothing_under_the_second,
                theft::a_second_temporary_key_for_a_held_token_is_refused,
                theft::the_aggregate_form_of_a_seen_token_is_reserved,
                theft::receipts_of_which_one_member_signed_two_are_not_enough,
                theft::a_token_that_was_never_committed_gets_nothing,
                theft::a_token_for_somebody_else_gets_nothing,
                theft::old_and_future_tokens_get_nothing,
                theft::a_token_that_nobody_signed_gets_nothing,
                js::the_npm_clients_log_new_users_in_and_agree_with_ours,
                logins::no_log_of_a_member_holds_a_token_or_a_user,
                audit::the_heads_of_all_audit_logs_reach_every_member,
                audit::a_copy_of_a_running_vaults_log_is_proven_against_the_head_that_a_peer_holds,
                residue::no_secret_of_a_batch_is_in_any_processs_memory_outside_the_vaults_own,
                faults::a_login_needs_no_member_that_is_down,
                faults::a_node_that_cannot_assign_says_so_by_its_status,
                faults::a_killed_node_comes_back_and_catches_up,
                faults::a_killed_vault_comes_back_and_no_key_changes,
                faults::everything_comes_back_from_disk_within_half_a_minute,
                window::all_vaults_killed_between_the_set_and_the_first_acknowledgement_publish_that_batch,
                faults::the_network_file_names_the_processes_that_run,
                faults::nothing_is_left_running_after_sigterm,
                faults::nothing_is_left_running_after_the_launcher_was_killed,
            ],
        },
        Group {
            name: LOCKED,
            members: 5,
            port: 100,
            keys: Some(64),
            long: false,
            checks: checks![residue::what_is_searched_for_is_found_in_a_vaults_own_memory_where_that_can_be_read],
        },
        Group {
            name: names::NAMED,
            members: 5,
            port: 300,
            keys: Some(64),
            long: false,
            checks: checks![
                names::a_member_whose_name_does_not_resolve_yet_takes_part,
                names::a_member_is_found_by_its_name_and_again_where_its_name_leads_later,
                names::no_name_was_asked_for_by_datagram_and_no_node_was_ended,
            ],
        },
        Group {
            name: listed::LISTED,
            members: 5,
            port: 500,
            keys: Some(64),
            long: false,
            checks: checks![
                listed::members_list_themselves_and_put_their_epoch_in_force,
                listed::three_generations_of_the_npm_package_find_the_members,
                listed::the_doctor_tells_how_node_and_list_are,
                listed::a_node_that_disagrees_with_the_list_does_not_serve_and_says_what_to_do,
                listed::without_the_chain_members_serve_and_say_that_they_cannot_read_it,
            ],
        },
        Group {
            name: "clock",
            members: 5,
            port: 200,
            keys: None,
            long: true,
            checks: checks![long::a_clock_ten_minutes_off_is_told_and_releases_nothing],
        },
        Group {
            name: "kills",
            members: 5,
            port: 400,
            keys: Some(256),
            long: true,
            checks: checks![
                long::everything_killed_at_once_comes_back_after_the_silence,
                long::any_process_killed_at_any_time_loses_no_key,
                long::vaults_killed_while_a_batch_is_made_still_publish_it,
            ],
        },
        Group {
            name: "nine",
            members: 9,
            port: 600,
            keys: None,
            long: true,
            checks: checks![
                logins::a_new_user_gets_a_key_and_keeps_it,
                logins::two_users_have_two_keys,
                wire::every_member_answers_a_lookup_in_the_same_words,
                wire::an_assignment_is_once_and_seen_everywhere_within_a_second,
                theft::an_honest_login_by_hand_gets_a_share_from_every_member,
                theft::receipts_of_which_one_member_signed_two_are_not_enough,
                js::the_npm_clients_log_new_users_in_and_agree_with_ours,
                faults::a_login_needs_no_member_that_is_down,
                faults::everything_comes_back_from_disk_within_half_a_minute,
                faults::nothing_is_left_running_after_sigterm,
            ],
        },
    ]
}
