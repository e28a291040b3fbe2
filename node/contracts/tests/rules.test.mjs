// Each rule of the node list, by the reason with which it refuses.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { id } from "ethers";
import { SOURCE } from "./compile.mjs";
import { ABI, CODE, Member, NOBODY, Refused, ZERO, arguments_, digest, members, startChain } from "./kit.mjs";

const OPEN = "only the epoch after the current one is open";
const LOCKED = "the epoch is proposed: it does not change until its members decide";
const UNSIGNED = "the identity key did not sign this";
const seen = new Set();
let chain;
let five;

before(async () => {
  chain = await startChain(0);
  five = members(chain, 1, 2, 3, 4, 5);
});
after(() => chain.stop());

/** A fresh contract; its refusals are remembered for the last test here. */
async function fresh(options) {
  const contract = await chain.deploy(options);
  const refuses = contract.refuses.bind(contract);
  contract.refuses = async (reason, ...call) => {
    await refuses(reason, ...call);
    seen.add(reason);
  };
  return contract;
}

test("sizes_are_taken_and_refused_as_the_vault_does_and_in_its_words", async () => {
  const contract = await fresh();
  // The vault's own list of rules, so that neither can change alone.
  const source = readFileSync(new URL("../../../vault/sharing/src/sizes.rs", import.meta.url), "utf8");
  const rule = Object.fromEntries(
    [...source.matchAll(/#\[error\("(.*)"\)\]\s+(\w+),/g)].map(([, text, name]) => [name, text]),
  );
  assert.deepEqual(Object.keys(rule).sort(), ["Byzantine", "EngineQuorum", "Liveness", "Range", "Threshold"]);
  const half = (n) => Math.floor(n / 2);
  const expected = (n, k, t) => {
    if (n < 4 || n > 30 || t === 0 || t > 10) return rule.Range;
    if (k !== half(n) + 1) return rule.Threshold;
    if (n < k + 2 * t) return rule.Liveness;
    if (n <= 3 * t) return rule.Byzantine;
    if (2 * (Math.floor((2 * n) / 3) + 1) - n < k) return rule.EngineQuorum;
    return null;
  };
  const taken = [];
  for (let n = 0; n <= 32; n += 1) {
    for (let t = 0; t <= 11; t += 1) {
      for (const k of new Set([0, half(n), half(n) + 1, half(n) + 2])) {
        const reason = await contract.read("checkSizes", n, k, t).then(
          () => null,
          (error) => error.message,
        );
        assert.equal(reason, expected(n, k, t), `(${n},${k},${t})`);
        if (reason === null) taken.push(`${n},${k},${t}`);
      }
    }
  }
  assert.deepEqual(taken, ["5,3,1", "6,4,1", "9,5,1", "9,5,2"]);
  // Only what the liveness rule does not imply can be a refusal's reason.
  const refused = (name, ...sizes) => contract.refuses(rule[name], contract.owner, "updateEpoch", 1, ...sizes, [], 0, 0);
  await refused("Range", 3, 2, 1);
  await refused("Range", 31, 16, 7);
  await refused("Range", 2n ** 256n - 1n, 3, 1);
  await refused("Threshold", 5, 2n ** 255n, 1);
  await refused("Threshold", 5, 2, 1);
  await refused("Liveness", 5, 3, 2);
  await refused("EngineQuorum", 7, 4, 1);
});

test("nobody_but_the_owner_makes_proposals_and_offers_ownership", async () => {
  const contract = await fresh();
  const stranger = five[0].account;
  const calls = [
    ["updateEpoch", 1, 5, 3, 1, [], 0, 0],
    ["updateWhitelist", 1, stranger, true],
    ["proposeEpoch", 1, id("committee")],
    ["transferOwnership", stranger],
  ];
  for (const call of calls) await contract.refuses("only the owner may do this", stranger, ...call);
});

test("ownership_changes_in_two_steps_and_the_second_is_the_new_owners", async () => {
  const contract = await fresh();
  const [next, other] = [five[0].account, five[1].account];
  const REASON = "ownership was not offered to this account";
  await contract.refuses(REASON, next, "acceptOwnership");
  const offered = await contract.send(contract.owner, "transferOwnership", next);
  assert.deepEqual(offered.events, [["OwnershipTransferStarted", contract.owner, next]]);
  assert.equal(await contract.read("owner"), contract.owner, "an offer moves nothing");
  await contract.refuses(REASON, other, "acceptOwnership");
  await contract.refuses(REASON, contract.owner, "acceptOwnership");
  await contract.send(contract.owner, "transferOwnership", NOBODY);
  await contract.refuses(REASON, next, "acceptOwnership");
  await contract.send(contract.owner, "transferOwnership", next);
  const accepted = await contract.send(next, "acceptOwnership");
  assert.deepEqual(accepted.events, [["OwnershipTransferred", contract.owner, next]]);
  assert.deepEqual([await contract.read("owner"), await contract.read("pendingOwner")], [next, NOBODY]);
  await contract.refuses(REASON, next, "acceptOwnership");
  await contract.refuses("only the owner may do this", contract.owner, "updateEpoch", 1, 5, 3, 1, [], 0, 0);
});

test("only_the_epoch_after_the_current_one_is_begun_and_its_neighbours_are_not_the_owners_to_set", async () => {
  await assert.rejects(chain.deploy({ first: 0 }), new Refused("epochs count from 1"));
  seen.add("epochs count from 1");
  const contract = await fresh({ first: 7 });
  const begin = (epoch, prev, next) => ["updateEpoch", epoch, 5, 3, 1, [], prev, next];
  for (const epoch of [0, 1, 6, 8, 2n ** 256n - 1n]) {
    await contract.refuses(OPEN, contract.owner, ...begin(epoch, 0, 0));
    await contract.refuses(OPEN, contract.owner, "updateWhitelist", epoch, five[0].account, true);
    await contract.refuses(OPEN, contract.owner, "proposeEpoch", epoch, id("committee"));
    await contract.refuses(OPEN, five[0].account, ...arguments_(epoch, five[0].listing(epoch), "0x"));
  }
  await contract.refuses("prevEpoch must be the current epoch", contract.owner, ...begin(7, 6, 0));
  await contract.refuses("nextEpoch must be 0: a proposal sets it", contract.owner, ...begin(7, 0, 8));
  await contract.found(7, [5, 3, 1], five);
  await contract.refuses(OPEN, contract.owner, ...begin(7, 0, 0));
  await contract.refuses(OPEN, contract.owner, "updateWhitelist", 7, five[0].account, false);
  await contract.refuses(OPEN, contract.owner, ...begin(9, 7, 0));
  await contract.refuses("prevEpoch must be the current epoch", contract.owner, ...begin(8, 0, 0));
  await contract.send(contract.owner, ...begin(8, 7, 0));
});

test("what_has_not_begun_is_no_epoch", async () => {
  const contract = await fresh();
  const NONE = "there is no such epoch";
  for (const name of ["getNodes", "getEpochInfo", "epochInfo", "getSeats", "quorum"]) {
    for (const epoch of [0, 1, 2n ** 256n - 1n]) await assert.rejects(contract.read(name, epoch), new Refused(NONE));
  }
  await contract.refuses(NONE, contract.owner, "updateWhitelist", 1, five[0].account, true);
  await contract.refuses(NONE, contract.owner, "proposeEpoch", 1, id("committee"));
  await contract.refuses(NONE, five[0].account, ...arguments_(1, five[0].listing(1), "0x"));
  await assert.rejects(contract.read("getNodeSet", "google", id("")), new Refused("no epoch is the current one yet"));
  seen.add("no epoch is the current one yet");
  assert.equal(await contract.read("isWhitelisted", 1, five[0].account), false);
  assert.equal(await contract.read("nodeRegistered", 2n ** 256n - 1n, five[0].account), false);
  assert.deepEqual(await contract.read("getNodeDetails", five[0].account), ["", 0n, 0n, 0n, "", ""]);
});

test("an_account_has_one_seat_and_there_are_n_of_them", async () => {
  const contract = await fresh();
  const accounts = chain.accounts.slice(1, 7);
  const begin = (list) => ["updateEpoch", 1, 5, 3, 1, list, 0, 0];
  const TWICE = "the account has a seat already";
  await contract.refuses("more accounts than seats", contract.owner, ...begin(accounts));
  await contract.refuses(TWICE, contract.owner, ...begin([accounts[0], accounts[1], accounts[0]]));
  await contract.refuses("the zero address is no account", contract.owner, ...begin([accounts[0], NOBODY]));
  const { events } = await contract.send(contract.owner, ...begin(accounts.slice(0, 4)));
  const whitelisted = accounts.slice(0, 4).map((account, i) => ["WhitelistUpdated", 1n, account, BigInt(i + 1), true]);
  assert.deepEqual(events, [["EpochUpdated", 1n, 5n, 3n, 1n], ...whitelisted]);
  const whitelist = (account, allowed) => contract.send(contract.owner, "updateWhitelist", 1, account, allowed);
  await contract.refuses(TWICE, contract.owner, "updateWhitelist", 1, accounts[0], true);
  await contract.refuses("the zero address is no account", contract.owner, "updateWhitelist", 1, NOBODY, true);
  await whitelist(accounts[4], true);
  await contract.refuses("all n seats are taken", contract.owner, "updateWhitelist", 1, accounts[5], true);
  // The lowest seat that is free, so that indices are the owner's to say.
  await whitelist(accounts[3], false);
  const removed = await whitelist(accounts[1], false);
  assert.deepEqual(removed.events, [["WhitelistUpdated", 1n, accounts[1], 2n, false]]);
  await contract.refuses(
    "the account is not whitelisted for this epoch", contract.owner, "updateWhitelist", 1, accounts[1], false,
  );
  await whitelist(accounts[5], true);
  const [one, , three, , fiveth, six] = accounts;
  assert.deepEqual(await contract.read("getSeats", 1), [one, six, three, NOBODY, fiveth]);
  assert.deepEqual(
    await Promise.all([accounts[5], accounts[1]].map((account) => contract.read("isWhitelisted", 1, account))),
    [true, false],
  );
  assert.equal(await contract.read("whitelist", 1, accounts[5]), true);
  // Begun anew: nothing is left of the draft.
  await contract.send(contract.owner, ...begin([]));
  assert.deepEqual(await contract.read("getSeats", 1), Array(5).fill(NOBODY));
});

test("plain_listing_and_setting_the_epoch_are_refused_and_say_what_to_call", async () => {
  const contract = await fresh();
  await contract.begin(1, [5, 3, 1], five);
  const { declaredIp, pubKx, pubKy } = five[0].listing(1);
  await contract.refuses(
    "the identity key must sign: call listNodeWithProof",
    five[0].account, "listNode", 1, declaredIp, pubKx, pubKy, "", "",
  );
  await contract.refuses("members decide: q of them call signalReady", contract.owner, "setCurrentEpoch", 1);
});

test("a_listing_is_bound_to_chain_contract_epoch_account_key_and_texts", async () => {
  const contract = await fresh();
  const [one, two, , , , six] = members(chain, 1, 2, 3, 4, 5, 6);
  await contract.begin(1, [5, 3, 1], five);
  const listing = one.listing(1);
  const good = one.sign(contract.address, listing);
  const refused = (reason, from, changes, signature) =>
    contract.refuses(reason, from, ...arguments_(1, { ...listing, ...changes }, signature));

  const NOT = "the account is not whitelisted for this epoch";
  await refused(NOT, six.account, {}, six.sign(contract.address, six.listing(1)));
  await refused(NOT, contract.owner, {}, good);
  await refused(UNSIGNED, two.account, {}, good);
  await refused(UNSIGNED, one.account, {}, one.sign(two.account, listing));
  await refused(UNSIGNED, one.account, {}, one.sign(contract.address, listing, 1));
  await refused(UNSIGNED, one.account, {}, one.sign(contract.address, { ...listing, epoch: 2 }));
  await refused(UNSIGNED, one.account, {}, two.sign(contract.address, listing));
  const other = two.listing(1);
  for (const field of ["declaredIp", "tmP2PListenAddress", "p2pListenAddress", "pubKx", "pubKy"]) {
    await refused(UNSIGNED, one.account, { [field]: other[field] }, good);
  }
  // Texts cannot flow into each other.
  const swapped = { tmP2PListenAddress: listing.p2pListenAddress, p2pListenAddress: listing.tmP2PListenAddress };
  await refused(UNSIGNED, one.account, swapped, good);
  await refused(UNSIGNED, one.account, { pubKx: 0, pubKy: 0 }, good);
  await refused(UNSIGNED, one.account, { pubKx: 0, pubKy: 0 }, `0x${"00".repeat(65)}`);

  const LENGTH = "a signature has 65 bytes: r, s, v";
  for (const signature of ["0x", good.slice(0, -2), `${good}00`]) await refused(LENGTH, one.account, {}, signature);
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const twin = (order - BigInt(`0x${good.slice(66, 130)}`)).toString(16).padStart(64, "0");
  const v = good.endsWith("1b") ? "1c" : "1b";
  await refused("the signature's s is the higher one", one.account, {}, good.slice(0, 66) + twin + v);
  await refused(UNSIGNED, one.account, {}, good.slice(0, 130) + v);
  await refused(UNSIGNED, one.account, {}, `${good.slice(0, 130)}00`);
  await refused(UNSIGNED, one.account, {}, `0x${"00".repeat(32)}${good.slice(66)}`);

  assert.equal(await contract.read("nodeRegistered", 1, one.account), false);
  const { events } = await contract.send(one.account, ...arguments_(1, listing, good));
  assert.deepEqual(events, [["NodeListed", one.account, 1n, 1n]]);
  const { declaredIp, tmP2PListenAddress, p2pListenAddress } = listing;
  const expected = [declaredIp, 1n, one.pubKx, one.pubKy, tmP2PListenAddress, p2pListenAddress];
  for (const view of ["nodeDetails", "getNodeDetails"]) {
    assert.deepEqual(await contract.read(view, one.account), expected);
  }
});

test("the_contract_and_eip_712_agree_on_what_is_signed", async () => {
  const contract = await fresh();
  for (const member of five) {
    const listing = { ...member.listing(member.number), declaredIp: "node.example.org".repeat(member.number) };
    const { epoch, account, declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress } = listing;
    assert.equal(
      await contract.read(
        "listingDigest", epoch, account, declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress,
      ),
      digest(contract.address, listing),
    );
  }
});

test("texts_are_bounded_and_printable", async () => {
  const contract = await fresh();
  await contract.begin(1, [5, 3, 1], five);
  const [member] = five;
  for (const field of ["declaredIp", "tmP2PListenAddress", "p2pListenAddress"]) {
    const reason = `${field} must be 1 to 256 printable ASCII characters`;
    for (const text of ["", "a".repeat(257), "a b", "a\n", "\u0000", "a\u007f", "ä", "a\u202e"]) {
      const listing = { ...member.listing(1), [field]: text };
      await contract.refuses(
        reason, member.account, ...arguments_(1, listing, member.sign(contract.address, listing)),
      );
    }
    await contract.list(1, member, { [field]: "~".repeat(255) + "!" });
  }
});

test("one_identity_key_is_one_member_and_one_account_lists_one_key", async () => {
  const contract = await fresh();
  await contract.begin(1, [5, 3, 1], five);
  const [one, two] = five;
  await contract.list(1, one);
  // Member two has the key of one sign for his account: a vault that two accounts share.
  const shared = { ...two.listing(1), pubKx: one.pubKx, pubKy: one.pubKy };
  const TAKEN = "another account has listed this identity key";
  const call = arguments_(1, shared, one.sign(contract.address, shared));
  await contract.refuses(TAKEN, two.account, ...call);
  await contract.list(1, two);
  await contract.refuses(TAKEN, two.account, ...call);
  assert.deepEqual(await contract.read("getNodes", 1), [one.account, two.account]);
  // Listed anew, with another host and with another key: it is the same seat, and the key before is free again.
  await contract.list(1, one, { declaredIp: "other.example.org" });
  assert.equal((await contract.read("nodeDetails", one.account))[0], "other.example.org");
  const six = new Member(6, chain.accounts[6]);
  const renewed = { ...one.listing(1), pubKx: six.pubKx, pubKy: six.pubKy };
  await contract.send(one.account, ...arguments_(1, renewed, six.sign(contract.address, renewed)));
  await contract.send(two.account, ...call);
  const { events } = await contract.send(contract.owner, "updateWhitelist", 1, two.account, false);
  assert.deepEqual(events, [["NodeRemoved", 1n, two.account, 2n], ["WhitelistUpdated", 1n, two.account, 2n, false]]);
  assert.deepEqual(await contract.read("getNodes", 1), [one.account]);
  await contract.list(1, one);
});

test("only_a_complete_set_with_its_committees_hash_is_proposed_and_then_it_does_not_change", async () => {
  const contract = await fresh();
  await contract.begin(1, [5, 3, 1], five);
  const committee = id("committee");
  const propose = (hash) => ["proposeEpoch", 1, hash];
  await contract.refuses("not all n members are listed", contract.owner, ...propose(committee));
  for (const member of five.slice(1)) await contract.list(1, member);
  await contract.refuses("not all n members are listed", contract.owner, ...propose(committee));
  await contract.list(1, five[0]);
  await contract.refuses("the committee's hash is missing", contract.owner, ...propose(ZERO));
  const { events } = await contract.send(contract.owner, ...propose(committee));
  assert.deepEqual(events, [["EpochProposed", 1n, 1n, committee]]);
  assert.equal(await contract.read("committeeHash", 1), committee);
  const listing = five[0].listing(1);
  await contract.refuses(LOCKED, five[0].account, ...arguments_(1, listing, five[0].sign(contract.address, listing)));
  await contract.refuses(LOCKED, contract.owner, "updateEpoch", 1, 5, 3, 1, [], 0, 0);
  await contract.refuses(LOCKED, contract.owner, "updateWhitelist", 1, five[0].account, false);
  await contract.refuses(LOCKED, contract.owner, ...propose(id("another")));
});

test("a_word_counts_for_the_proposal_and_the_epoch_that_it_names_and_once", async () => {
  const contract = await fresh();
  const config = id("config");
  const [one] = five;
  const WAITS = "this is not the proposal that waits";
  const DECIDE = "only members of the current set decide";
  const MISSING = "the config's hash is missing";
  await contract.refuses(WAITS, one.account, "signalReady", 1, 0, config);
  await contract.refuses(WAITS, one.account, "signalAbort", 1, 0);
  await contract.refuses("there is no current set to go on with", one.account, "signalRefresh", 1, config);
  await contract.propose(1, [5, 3, 1], five);
  for (const proposal of [0, 2, 2n ** 64n + 1n]) {
    await contract.refuses(WAITS, one.account, "signalReady", 1, proposal, config);
    await contract.refuses(WAITS, one.account, "signalAbort", 1, proposal);
  }
  await contract.refuses(OPEN, one.account, "signalReady", 2, 1, config);
  await contract.refuses(OPEN, one.account, "signalAbort", 2, 1);
  await contract.refuses(MISSING, one.account, "signalReady", 1, 1, ZERO);
  await contract.refuses(DECIDE, contract.owner, "signalReady", 1, 1, config);
  await contract.refuses(DECIDE, chain.accounts[6], "signalAbort", 1, 1);
  const { events } = await contract.send(one.account, "signalReady", 1, 1, config);
  assert.deepEqual(events, [["Signalled", 1n, 1n, one.account, 1n, config]]);
  await contract.refuses("this account has said so already", one.account, "signalReady", 1, 1, config);
  assert.equal(await contract.read("signalCount", 1, 1, 1, config), 1n);
  assert.deepEqual(await contract.read("signals", 1, one.account), [1n, 1n, config]);
  for (const member of five.slice(1, 4)) await contract.send(member.account, "signalReady", 1, 1, config);
  // The fifth comes too late, and so does everything about what has been decided.
  await contract.refuses(OPEN, five[4].account, "signalReady", 1, 1, config);
  await contract.refuses(MISSING, one.account, "signalRefresh", 2, ZERO);
  for (const epoch of [0, 1, 3]) await contract.refuses(OPEN, one.account, "signalRefresh", epoch, config);
  await contract.refuses(DECIDE, contract.owner, "signalRefresh", 2, config);
});

test("no_call_takes_money_and_nothing_else_answers", async () => {
  const contract = await fresh();
  const to = contract.address;
  const from = five[0].account;
  await assert.rejects(chain.rpc("eth_call", { from, to, value: "0x1" }));
  await assert.rejects(chain.rpc("eth_call", { from, to, data: "0x12345678" }));
  assert.ok(CODE.abi.every((entry) => entry.stateMutability !== "payable"));
  const data = ABI.encodeFunctionData("transferOwnership", [from]);
  await assert.rejects(chain.rpc("eth_call", { from: contract.owner, to, data, value: "0x1" }));
});

test("every_reason_in_the_source_was_a_refusal_above", () => {
  const source = readFileSync(SOURCE, "utf8");
  const refusals = [...source.matchAll(/(?:require|revert)\(((?:[^()]|\([^()]*\))*?)"((?:[^"\\]|\\.)*)"\s*\)/g)];
  const reasons = new Set(refusals.map(([, , reason]) => reason));
  assert.equal(source.match(/\b(?:require|revert)\(/g).length, refusals.length, "a refusal without a reason");
  // This one is implied by the rule before it (see checkSizes).
  assert.ok(reasons.delete("n must be more than 3t"));
  assert.deepEqual([...reasons].filter((reason) => !seen.has(reason)), []);
});
