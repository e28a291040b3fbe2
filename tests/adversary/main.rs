//! Hostile nodes: this program takes nodes over, their vaults' sockets and all that they know, and tries to get shares,
//! forks and second votes. What it may get is the table of promises in `vault/README.md`, and nothing else.
//!
//! `cargo test --test adversary -- WORD…` runs the checks whose name has a word. TORUS_LONG=1 writes a million frames in
//! place of ten thousand; TORUS_FRAMES=N so many. Chance is printed as TORUS_SEED, which repeats it.
//! The network's ports begin 800 above TORUS_E2E_PORT, or above 18000.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a check fails by panicking")]

#[allow(dead_code, reason = "shared with the end-to-end tests, which need all of it")]
#[path = "../e2e/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the end-to-end tests, which need all of it")]
#[path = "../e2e/devnet.rs"]
mod devnet;
#[path = "../e2e/harness.rs"]
mod harness;
#[allow(dead_code, reason = "shared with the end-to-end tests, which need all of it")]
#[path = "../e2e/rpc.rs"]
mod rpc;
#[path = "../e2e/twins.rs"]
mod twins;

mod forge;
mod frames;
mod fronts;
mod generation;
mod login;
mod loot;
mod pool;
mod quorum;
mod reveals;
mod siege;
mod socket;
mod votes;

use std::process::ExitCode;

use harness::{Group, checks};
use siege::Siege;

fn main() -> ExitCode {
    harness::run("adversary", groups())
}

fn groups() -> Vec<Group<Siege>> {
    vec![Group {
        name: "hostile",
        members: 5,
        port: 800,
        keys: Some(256),
        long: false,
        checks: checks![
            loot::a_secret_said_in_clear_is_noticed_wherever_it_is_cut,
            reveals::a_spoiled_reveal_gets_the_refusal_of_its_fault_from_every_vault,
            reveals::a_token_that_passes_by_serves_nobody_but_its_user,
            reveals::a_login_that_is_squatted_on_is_denied_and_gives_nobody_a_share,
            votes::replayed_and_stale_headers_move_no_vault_and_stop_none,
            votes::proposals_over_several_rounds_are_one_a_round_and_use_up_none_to_come,
            votes::three_hostile_nodes_certify_no_block_and_get_no_second_vote,
            generation::envelopes_that_were_touched_swapped_or_made_up_open_nowhere,
            generation::facts_that_the_log_does_not_hold_make_no_vault_deal_or_publish,
            generation::what_peers_hold_of_an_audit_log_counts_only_as_the_log_certified_it,
            fronts::our_client_reveals_no_token_to_three_hostile_nodes_that_have_a_quorum_for_a_key_of_their_own,
            fronts::two_hostile_nodes_get_nothing_from_users_of_stock_clients,
            fronts::three_hostile_nodes_get_the_login_of_a_stock_clients_user_as_the_table_says,
            frames::every_verb_in_any_order_gives_no_share_and_no_second_vote,
            frames::fuzzed_frames_stop_no_vault_and_get_nothing,
            // From here on no honest node can go on.
            quorum::by_a_forged_mapping_a_quorum_gets_keys_never_released_and_others_go_to_their_first_owner_only,
            quorum::by_a_forged_issuer_key_a_quorum_logs_in_as_whom_it_likes_within_the_quotas,
            quorum::not_even_a_quorum_certifies_two_blocks_of_one_height,
            quorum::a_quorum_certifies_a_committee_of_its_own_and_no_vault_follows_it,
        ],
    }]
}
