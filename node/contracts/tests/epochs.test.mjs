// How sets become current: members decide, by q equal words; nobody else, and no time.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { id } from "ethers";
import { NOBODY, Refused, WORD, ZERO, members, startChain } from "./kit.mjs";

const SIZES = { 5: [5, 3, 1], 9: [9, 5, 2] };
const LATE = "only the epoch after the current one is open";
let chain;
let five;
let nine;

before(async () => {
  chain = await startChain(1);
  five = members(chain, 1, 2, 3, 4, 5);
  // Two of the five go on, at other indices.
  nine = members(chain, 6, 7, 2, 8, 9, 10, 1, 11, 12);
});
after(() => chain.stop());

const ready = (contract, member, epoch, proposal, config) =>
  contract.send(member.account, "signalReady", epoch, proposal, config);

test("the_first_set_speaks_for_itself_and_a_quorum_of_it_makes_it_current", async () => {
  const contract = await chain.deploy();
  const committee = id("committee 1");
  const proposal = await contract.propose(1, SIZES[5], five, committee);
  assert.equal(await contract.read("quorum", 1), 4n);
  for (const member of five.slice(0, 3)) await ready(contract, member, 1, proposal, id("config 1"));
  assert.equal(await contract.read("currentEpoch"), 0n, "three are no quorum");
  const last = await ready(contract, five[3], 1, proposal, id("config 1"));
  assert.deepEqual(last.events.slice(1), [["ConfigDecided", 1n, id("config 1")], ["EpochChanged", 0n, 1n]]);
  assert.equal(await contract.read("currentEpoch"), 1n);
  assert.equal(await contract.read("proposed"), false);
  assert.equal(await contract.read("configHash", 1), id("config 1"));
  assert.equal(await contract.read("committeeHash", 1), committee);
  const accounts = five.map((member) => member.account);
  assert.deepEqual(await contract.read("getEpochInfo", 1), [1n, 5n, 3n, 1n, accounts, 0n, 0n]);
  assert.deepEqual(await contract.read("getNodes", 1), accounts);
});

test("words_of_different_configs_do_not_add_up_and_a_later_word_replaces_an_earlier_one", async () => {
  const contract = await chain.deploy();
  await contract.found(1, SIZES[5], five);
  const proposal = await contract.propose(2, SIZES[9], nine);
  const [a, b] = [id("config a"), id("config b")];
  for (const member of five.slice(0, 2)) await ready(contract, member, 2, proposal, a);
  for (const member of five.slice(2, 5)) await ready(contract, member, 2, proposal, b);
  const count = (word, config) => contract.read("signalCount", 2, word, proposal, config);
  assert.deepEqual([await count(WORD.ready, a), await count(WORD.ready, b)], [2n, 3n]);
  await contract.send(five[0].account, "signalAbort", 2, proposal);
  assert.deepEqual([await count(WORD.ready, a), await count(WORD.ready, b), await count(WORD.abort, ZERO)], [1n, 3n, 1n]);
  await contract.send(five[0].account, "signalRefresh", 2, a);
  assert.equal(await contract.read("signalCount", 2, WORD.refresh, 0, a), 1n);
  assert.equal(await contract.read("currentEpoch"), 1n);
  await ready(contract, five[0], 2, proposal, b);
  assert.equal(await contract.read("currentEpoch"), 2n);
  assert.equal(await contract.read("configHash", 2), b);
});

test("only_members_of_the_current_set_decide_and_not_those_of_the_next", async () => {
  const contract = await chain.deploy();
  await contract.found(1, SIZES[5], five);
  const proposal = await contract.propose(2, SIZES[9], nine);
  assert.equal(await contract.read("getPssStatus", 1, 2), 1n);
  for (const member of nine) {
    if (five.some((other) => other.account === member.account)) continue;
    const reason = "only members of the current set decide";
    await contract.refuses(reason, member.account, "signalReady", 2, proposal, id("config 2"));
    await contract.refuses(reason, member.account, "signalAbort", 2, proposal);
    await contract.refuses(reason, member.account, "signalRefresh", 2, id("config 2"));
  }
  assert.deepEqual(await contract.read("epochInfo", 1), [1n, 5n, 3n, 1n, 0n, 2n]);
  for (const member of five.slice(1)) await ready(contract, member, 2, proposal, id("config 2"));
  assert.equal(await contract.read("currentEpoch"), 2n);
  assert.equal(await contract.read("getPssStatus", 1, 2), 2n);
  // From here on seven of the nine decide, and the five are history.
  assert.equal(await contract.read("quorum", 2), 7n);
  await contract.refuses("only members of the current set decide", five[2].account, "signalRefresh", 3, id("config 3"));
  for (const member of nine.slice(0, 7)) await contract.send(member.account, "signalRefresh", 3, id("config 3"));
  assert.equal(await contract.read("currentEpoch"), 3n);
});

test("no_time_passes_a_proposal_and_none_withdraws_it", async () => {
  const contract = await chain.deploy();
  await contract.found(1, SIZES[5], five);
  const proposal = await contract.propose(2, SIZES[9], nine);
  for (const member of five.slice(0, 3)) await ready(contract, member, 2, proposal, id("config 2"));
  await chain.rpc("evm_increaseTime", 10 * 365 * 86400);
  await chain.rpc("anvil_mine", "0x400");
  await contract.send(contract.owner, "transferOwnership", NOBODY);
  assert.deepEqual([await contract.read("currentEpoch"), await contract.read("proposed")], [1n, true]);
  await ready(contract, five[4], 2, proposal, id("config 2"));
  assert.equal(await contract.read("currentEpoch"), 2n);
});

test("a_quorum_that_aborts_opens_the_set_again_and_its_words_count_for_no_later_proposal", async () => {
  const contract = await chain.deploy();
  await contract.found(1, SIZES[5], five);
  const first = await contract.propose(2, SIZES[9], nine, id("committee 2"));
  const config = id("config 2");
  await ready(contract, five[4], 2, first, config);
  for (const member of five.slice(0, 3)) await contract.send(member.account, "signalAbort", 2, first);
  assert.equal(await contract.read("proposed"), true);
  const last = await contract.send(five[3].account, "signalAbort", 2, first);
  assert.deepEqual(last.events.slice(1), [["ProposalEnded", 2n, first]]);
  assert.deepEqual([await contract.read("proposed"), await contract.read("currentEpoch")], [false, 1n]);
  assert.equal(await contract.read("committeeHash", 2), ZERO);
  assert.equal(await contract.read("getPssStatus", 1, 2), 0n);
  assert.deepEqual(await contract.read("epochInfo", 1), [1n, 5n, 3n, 1n, 0n, 0n]);
  await contract.refuses("this is not the proposal that waits", five[0].account, "signalReady", 2, first, config);
  // The set is as it was, and may change: one member is replaced at his index.
  const [other] = members(chain, 13);
  await contract.send(contract.owner, "updateWhitelist", 2, nine[3].account, false);
  await contract.send(contract.owner, "updateWhitelist", 2, other.account, true);
  await contract.list(2, other);
  await contract.send(contract.owner, "proposeEpoch", 2, id("committee 2b"));
  const second = await contract.read("proposals");
  assert.equal(second, first + 1n);
  await contract.refuses("this is not the proposal that waits", five[0].account, "signalAbort", 2, first);
  for (const member of five.slice(0, 3)) await ready(contract, member, 2, second, config);
  assert.equal(await contract.read("currentEpoch"), 1n, "the fifth's word was about the first proposal");
  await ready(contract, five[4], 2, second, config);
  assert.equal(await contract.read("currentEpoch"), 2n);
  const expected = nine.map((member) => (member === nine[3] ? other : member).account);
  assert.deepEqual(await contract.read("getNodes", 2), expected);
});

test("a_first_set_that_aborts_is_proposed_again", async () => {
  const contract = await chain.deploy();
  const first = await contract.propose(1, SIZES[5], five);
  for (const member of five.slice(0, 4)) await contract.send(member.account, "signalAbort", 1, first);
  assert.equal(await contract.read("proposed"), false);
  await contract.found(1, SIZES[5], five);
});

test("the_same_members_go_on_without_the_owner_and_his_draft_or_proposal_is_gone", async () => {
  const contract = await chain.deploy();
  await contract.found(1, SIZES[5], five);
  const set = await contract.read("getNodeSet", "google", id("user"));
  const refresh = async (epoch) => {
    let last;
    for (const member of five.slice(0, 4)) {
      last = await contract.send(member.account, "signalRefresh", epoch, id(`config ${epoch}`));
    }
    assert.equal(await contract.read("currentEpoch"), BigInt(epoch));
    assert.equal(await contract.read("configHash", epoch), id(`config ${epoch}`));
    assert.deepEqual((await contract.read("getNodeSet", "google", id("user"))).slice(1), set.slice(1));
    return last.events.slice(1);
  };
  const changed = (epoch) => [
    ["ConfigDecided", BigInt(epoch), id(`config ${epoch}`)],
    ["EpochChanged", BigInt(epoch - 1), BigInt(epoch)],
  ];
  assert.deepEqual(await refresh(2), changed(2));
  await contract.begin(3, SIZES[9], nine);
  assert.deepEqual(await refresh(3), changed(3));
  assert.equal(await contract.read("isWhitelisted", 3, nine[0].account), false);
  const proposal = await contract.propose(4, SIZES[9], nine);
  assert.deepEqual(await refresh(4), [["ProposalEnded", 4n, proposal], ...changed(4)]);
  assert.deepEqual([await contract.read("proposed"), await contract.read("committeeHash", 4)], [false, ZERO]);
  assert.deepEqual(await contract.read("getSeats", 4), five.map((member) => member.account));
  // Their listings hold, since they are of the set; the next set begins with nobody in it.
  await contract.begin(5, SIZES[5], five);
  assert.deepEqual(await contract.read("getNodes", 5), []);
});

test("what_is_current_stays_as_it_is_while_the_next_set_is_made", async () => {
  const contract = await chain.deploy();
  await contract.found(1, SIZES[5], five);
  const user = ["google", id("user")];
  const [before, info] = [await contract.read("getNodeSet", ...user), await contract.read("getEpochInfo", 1)];
  const [one] = five;
  const details = await contract.read("getNodeDetails", one.account);
  await contract.begin(2, SIZES[9], nine);
  await contract.list(2, one, { declaredIp: "new.example.org" });
  assert.deepEqual(await contract.read("getNodeSet", ...user), before);
  assert.deepEqual(await contract.read("getEpochInfo", 1), info);
  assert.deepEqual(await contract.read("getNodeDetails", one.account), details, "clients see the current epoch's");
  const next = await contract.read("nodeDetailsIn", 2, one.account);
  assert.deepEqual([next[0], next[1]], ["new.example.org", 7n]);
  await contract.list(2, nine[0]);
  assert.equal((await contract.read("getNodeDetails", nine[0].account))[1], 1n, "who is not in it is seen in the next");
  assert.deepEqual(await contract.read("getNodes", 2), [nine[0].account, one.account], "in the order of their indices");
  const proposal = await contract.propose(2, SIZES[9], nine);
  assert.deepEqual(await contract.read("getNodeSet", ...user), before);
  for (const member of five.slice(0, 4)) await ready(contract, member, 2, proposal, id("config 2"));
  const after = await contract.read("getNodeSet", ...user);
  assert.deepEqual(after.slice(2), [
    nine.map((member) => member.pubKx),
    nine.map((member) => member.pubKy),
    nine.map((_, i) => BigInt(i + 1)),
  ]);
  assert.equal((await contract.read("getNodeDetails", one.account))[1], 7n);
  assert.deepEqual(await contract.read("getNodes", 1), five.map((member) => member.account), "history stays");
  await contract.refuses(LATE, contract.owner, "updateWhitelist", 1, one.account, false);
});

test("a_network_that_comes_from_elsewhere_begins_at_its_own_epoch", async () => {
  const contract = await chain.deploy({ first: 7 });
  await contract.found(7, SIZES[5], five, id("config 7"));
  assert.deepEqual(await contract.read("epochInfo", 7), [7n, 5n, 3n, 1n, 0n, 0n]);
  await assert.rejects(contract.read("epochInfo", 6), new Refused("there is no such epoch"));
  for (const [from, to, status] of [[6, 7, 0n], [7, 8, 0n], [7, 6, 0n], [0, 1, 0n]]) {
    assert.equal(await contract.read("pssStatus", from, to), status);
  }
  assert.equal(await contract.read("pssStatus", 2n ** 256n - 1n, 0), 0n);
  assert.equal(await contract.read("openEpoch"), 8n);
});
