// Thousands of calls by chance, most of them wrong in some way: the contract refuses what the model refuses and for its
// reason, looks afterwards as the model looks, and keeps what it promises whoever calls what.
//
// TORUS_SEED repeats a run, TORUS_CONTRACT_STEPS makes it longer.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { randomBytes } from "node:crypto";
import { id, keccak256 } from "ethers";
import { Refused, Member, NOBODY, ZERO, digest, startChain } from "./kit.mjs";
import { Model } from "./model.mjs";

const SEED = process.env.TORUS_SEED ?? randomBytes(8).toString("hex");
const STEPS = Number(process.env.TORUS_CONTRACT_STEPS ?? 800);
const SIZES = [[5, 3, 1], [6, 4, 1], [9, 5, 1], [9, 5, 2]];
let chain;

before(async () => {
  chain = await startChain(4);
});
after(() => chain.stop());

/** Numbers that follow from the seed. */
class Chance {
  constructor(seed) {
    this.state = id(seed);
  }

  below(limit) {
    this.state = keccak256(this.state);
    return Number(BigInt(this.state) % BigInt(limit));
  }

  one(...choices) {
    return choices[this.below(choices.length)];
  }

  percent(share) {
    return this.below(100) < share;
  }

  shuffled(list) {
    return list.map((item) => [this.below(1 << 30), item]).sort(([a], [b]) => a - b).map(([, item]) => item);
  }
}

/** One call: mostly what would bring the network on, with something wrong in it every so often. */
function invent(chance, model, members) {
  const odd = (value, ...others) => (chance.percent(6) ? chance.one(...others) : value);
  const accounts = members.map((member) => member.account);
  const epoch = odd(model.open, 0, model.current, model.open + 1, model.first);
  const set = model.sets.get(model.open);
  const owner = odd(model.owner, chance.one(...accounts));
  const call = (from, name, ...args) => ({ from, name, args });
  const config = chance.percent(90) ? id(`config ${model.open}`) : chance.one(ZERO, id("other"));

  const begin = () => {
    const sizes = [...chance.one(...SIZES)];
    if (chance.percent(10)) sizes[chance.below(3)] += chance.one(-1, 1, 2);
    const list = chance.shuffled(accounts).slice(0, chance.one(0, sizes[0], sizes[0], sizes[0] - 1));
    if (chance.percent(5)) list.push(chance.one(NOBODY, list[0] ?? NOBODY));
    return call(owner, "updateEpoch", epoch, ...sizes, list, odd(model.current, 0, 1), odd(0, model.open + 1));
  };
  const whitelist = () => {
    const account = odd(chance.one(...accounts), NOBODY);
    return call(owner, "updateWhitelist", epoch, account, chance.percent(75));
  };
  const list = () => {
    const seats = (set?.seats ?? []).filter((seat) => seat && (!seat.listing || chance.percent(5)));
    const wanted = seats.length > 0 ? chance.one(...seats).account : chance.one(...accounts);
    const from = odd(wanted, ...accounts);
    // Mostly each with his own vault's key.
    const member = odd(members[accounts.indexOf(wanted)], ...members);
    const listing = { ...member.listing(epoch), account: from, declaredIp: `host${chance.below(1000)}.example.org` };
    const field = chance.one("declaredIp", "tmP2PListenAddress", "p2pListenAddress");
    if (chance.percent(4)) listing[field] = chance.one("", "a b", "x".repeat(257), "x".repeat(256));
    const signed = odd(listing, { ...listing, account: chance.one(...accounts) }, { ...listing, p2pListenAddress: "x" });
    const signer = odd(member, ...members);
    const text = signer.sign(model.address, signed);
    const signature = { text, by: `${signer.pubKx} ${signer.pubKy}`, of: digest(model.address, signed) };
    const { declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress } = listing;
    const texts = [declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress];
    return call(from, "listNodeWithProof", epoch, ...texts, signature);
  };
  const propose = () => call(owner, "proposeEpoch", epoch, odd(id(`committee ${model.open}`), ZERO));
  const signal = () => {
    const deciding = model.sets.get(model.current === 0 ? model.open : model.current);
    const decides = deciding?.seats.filter(Boolean).map((seat) => seat.account) ?? accounts;
    const from = odd(chance.one(...decides, model.owner), ...accounts);
    const proposal = odd(model.proposals, 0, model.proposals - 1, model.proposals + 1);
    const kind = chance.below(100);
    if (kind < 70) return call(from, "signalReady", epoch, proposal < 0 ? 0 : proposal, config);
    if (kind < 88) return call(from, "signalAbort", epoch, proposal < 0 ? 0 : proposal);
    return call(from, "signalRefresh", epoch, config);
  };
  const rest = () =>
    chance.one(
      call(owner, "transferOwnership", chance.one(NOBODY, ...accounts)),
      call(odd(model.pending === NOBODY ? model.owner : model.pending, ...accounts), "acceptOwnership"),
      call(owner, "setCurrentEpoch", epoch),
      call(chance.one(...accounts), "listNode", epoch, "host", 1, 2, "", ""),
    );

  if (chance.percent(4)) return rest();
  if (chance.percent(2)) return begin();
  if (model.proposed) return chance.percent(92) ? signal() : chance.one(whitelist, list, propose, begin)();
  if (!set) return chance.percent(80) ? begin() : chance.one(whitelist, list, propose, signal)();
  if (set.seats.some((seat) => seat === null) && chance.percent(40)) return whitelist();
  if (set.seats.every((seat) => seat?.listing) && chance.percent(50)) return propose();
  return chance.percent(80) ? list() : chance.one(whitelist, propose, signal)();
}

/** What a reader sees, as the model has it. */
function expected(model) {
  const set = model.sets.get(model.open);
  const shape = (set) => [set.n, set.k, set.t].map(BigInt);
  const nodes = (set) => set.seats.filter((seat) => seat?.listing).map((seat) => seat.account);
  const now = model.sets.get(model.current);
  return {
    owner: model.owner,
    pendingOwner: model.pending,
    currentEpoch: BigInt(model.current),
    openEpoch: BigInt(model.open),
    proposals: BigInt(model.proposals),
    proposed: model.proposed,
    committeeHash: model.committees.get(model.open) ?? ZERO,
    configHash: model.configs.get(model.current) ?? ZERO,
    seats: set ? set.seats.map((seat) => seat?.account ?? NOBODY) : null,
    listed: set ? nodes(set) : null,
    sizes: set ? shape(set) : null,
    now: now
      ? [
          BigInt(model.current),
          ...shape(now),
          nodes(now),
          BigInt(model.current === model.first ? 0 : model.current - 1),
          BigInt(model.proposed ? model.open : 0),
        ]
      : null,
    clients: now
      ? [
          BigInt(model.current),
          now.seats.map((seat) => seat.listing.declaredIp),
          now.seats.map((seat) => seat.listing.pubKx),
          now.seats.map((seat) => seat.listing.pubKy),
          now.seats.map((_, i) => BigInt(i + 1)),
        ]
      : null,
  };
}

async function observed(contract, open) {
  const or = (reason) => (error) => {
    if (error instanceof Refused && error.message === reason) return null;
    throw error;
  };
  const none = or("there is no such epoch");
  const current = await contract.read("currentEpoch");
  const [owner, pendingOwner, openEpoch, proposals, proposed, committeeHash, configHash, seats, listed, info, now, set] =
    await Promise.all([
      contract.read("owner"),
      contract.read("pendingOwner"),
      contract.read("openEpoch"),
      contract.read("proposals"),
      contract.read("proposed"),
      contract.read("committeeHash", open),
      contract.read("configHash", current),
      contract.read("getSeats", open).catch(none),
      contract.read("getNodes", open).catch(none),
      contract.read("epochInfo", open).catch(none),
      contract.read("getEpochInfo", current).catch(none),
      contract.read("getNodeSet", "google", ZERO).catch(or("no epoch is the current one yet")),
    ]);
  return {
    owner, pendingOwner, currentEpoch: current, openEpoch, proposals, proposed, committeeHash, configHash, seats, listed,
    sizes: info && info.slice(1, 4), now, clients: set,
  };
}

/** What holds between two states whatever the model says. */
function keeps(before, after, { from, name }, past) {
  const advanced = after.currentEpoch !== before.currentEpoch;
  if (advanced) {
    assert.ok(before.currentEpoch === 0n || after.currentEpoch === before.currentEpoch + 1n, "epochs do not jump");
    assert.ok(name === "signalReady" || name === "signalRefresh", "only members' words pass an epoch");
    assert.ok((before.now?.[4] ?? before.listed).includes(from), "and only of the set that was current");
    assert.equal(after.proposed, false);
    past.push(after.clients);
  } else {
    assert.deepEqual(after.clients, before.clients, "what clients read changes with the epoch alone");
    assert.equal(after.configHash, before.configHash);
  }
  if (before.proposed && !advanced) {
    assert.deepEqual(
      [after.seats, after.listed, after.sizes], [before.seats, before.listed, before.sizes],
      "what is proposed does not change",
    );
    assert.ok(after.proposed || name === "signalAbort");
  }
  if (after.owner !== before.owner) assert.ok(name === "acceptOwnership" && from === before.pendingOwner);
  for (const sizes of [after.sizes, after.now?.slice(1, 4)].filter(Boolean)) {
    const [n, k, t] = sizes.map(Number);
    const q = Math.ceil((n + k) / 2);
    assert.ok(2 * q - n >= k && n - t >= q && n > 3 * t && 2 * (Math.floor((2 * n) / 3) + 1) - n >= k);
  }
  if (after.seats) {
    const seated = after.seats.filter((account) => account !== NOBODY);
    assert.equal(after.seats.length, Number(after.sizes[0]));
    assert.equal(new Set(seated).size, seated.length, "one account, one seat");
    assert.deepEqual(after.listed, seated.filter((account) => after.listed.includes(account)), "in order of index");
  }
  if (after.clients) {
    const [, hosts, x, , indexes] = after.clients;
    assert.equal(hosts.length, Number(after.now[1]));
    assert.equal(new Set(x).size, x.length, "one key, one member");
    assert.deepEqual(indexes, hosts.map((_, i) => BigInt(i + 1)));
  }
}

test("calls_by_chance_do_what_the_model_does_and_keep_the_invariants", async () => {
  const chance = new Chance(SEED);
  const members = chain.accounts.slice(1, 15).map((account, i) => new Member(i + 1, account));
  const first = 1 + chance.below(3);
  const contract = await chain.deploy({ first });
  const model = new Model(contract.address, contract.owner, first);
  const reasons = new Map();
  const past = [];
  let done = 0;
  let before = await observed(contract, model.open);
  try {
    for (let step = 0; step < STEPS; step += 1) {
      const call = invent(chance, model, members);
      const sent = call.args.map((arg) => arg?.text ?? arg);
      const told = model.call(call.from, call.name, call.args);
      const reason = await contract.send(call.from, call.name, ...sent).then(
        () => null,
        (error) => {
          if (error instanceof Refused) return error.message;
          throw error;
        },
      );
      const text = `step ${step}: ${call.name}(${sent}) from ${call.from}`;
      assert.equal(reason, told, text);
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      if (reason !== null) continue;
      done += 1;
      const after = await observed(contract, model.open);
      assert.deepEqual(after, expected(model), text);
      keeps(before, after, call, past);
      // An advance opens another epoch: it is that one's draft that counts from here on.
      before = after;
    }
  } catch (error) {
    error.message = `TORUS_SEED=${SEED}: ${error.message}`;
    throw error;
  }
  console.log(`seed ${SEED}: ${done} of ${STEPS} calls done, ${reasons.size - 1} reasons, ${past.length} epochs`);
  if (STEPS >= 800) {
    assert.ok(past.length >= 3 && done > STEPS / 4 && reasons.size > 12, `TORUS_SEED=${SEED}: too little happened`);
  }
});
