// The node list's rules a second time, written from README.md and not from the contract: what a call does, or why it is
// refused. Objects where the contract has mappings, so that a mistake in one is unlikely to be made in the other.

import { NOBODY, WORD, ZERO, digest } from "./kit.mjs";

const TEXT = /^[!-~]{1,256}$/;

class No extends Error {}
const must = (holds, reason) => {
  if (!holds) throw new No(reason);
};

export class Model {
  constructor(address, owner, first) {
    Object.assign(this, { address, owner, pending: NOBODY, current: 0, first, proposals: 0, proposed: false });
    this.sets = new Map(); // by epoch: { n, k, t, seats: [{ account, listing, identity } or null] }
    this.committees = new Map();
    this.configs = new Map();
    this.words = new Map(); // of the open epoch, by account
  }

  /** Null if the call is done, else the reason. */
  call(from, name, args) {
    try {
      this[name](from, ...args);
      return null;
    } catch (error) {
      if (error instanceof No) return error.message;
      throw error;
    }
  }

  get open() {
    return this.current === 0 ? this.first : this.current + 1;
  }

  set(epoch) {
    must(this.sets.has(epoch), "there is no such epoch");
    return this.sets.get(epoch);
  }

  seat(epoch, account) {
    return this.sets.get(epoch)?.seats.find((seat) => seat?.account === account);
  }

  owners(from) {
    must(from === this.owner, "only the owner may do this");
  }

  changeable(epoch) {
    must(epoch === this.open, "only the epoch after the current one is open");
    must(!this.proposed, "the epoch is proposed: it does not change until its members decide");
  }

  updateEpoch(from, epoch, n, k, t, accounts, prev, next) {
    this.owners(from);
    this.changeable(epoch);
    must(prev === this.current, "prevEpoch must be the current epoch");
    must(next === 0, "nextEpoch must be 0: a proposal sets it");
    must(n >= 4 && n <= 30 && t >= 1 && t <= 10, "n must be 4 to 30 and t at least 1");
    must(k === Math.floor(n / 2) + 1, "k must be floor(n/2) + 1");
    must(n >= k + 2 * t, "n must be at least k + 2t");
    const engine = Math.floor((2 * n) / 3) + 1;
    must(2 * engine - n >= k, "the engine's quorums must intersect in k members: 2*(floor(2n/3)+1) - n >= k");
    must(accounts.length <= n, "more accounts than seats");
    const taken = new Set();
    for (const account of accounts) {
      must(account !== NOBODY, "the zero address is no account");
      must(!taken.has(account), "the account has a seat already");
      taken.add(account);
    }
    const seats = Array.from({ length: n }, (_, i) => (i < accounts.length ? { account: accounts[i] } : null));
    this.sets.set(epoch, { n, k, t, seats });
  }

  updateWhitelist(from, epoch, account, allowed) {
    this.owners(from);
    this.changeable(epoch);
    const { seats } = this.set(epoch);
    if (allowed) {
      const free = seats.indexOf(null);
      must(free >= 0, "all n seats are taken");
      must(account !== NOBODY, "the zero address is no account");
      must(!this.seat(epoch, account), "the account has a seat already");
      seats[free] = { account };
    } else {
      must(this.seat(epoch, account), "the account is not whitelisted for this epoch");
      seats[seats.indexOf(this.seat(epoch, account))] = null;
    }
  }

  proposeEpoch(from, epoch, committee) {
    this.owners(from);
    this.changeable(epoch);
    must(this.set(epoch).seats.every((seat) => seat?.listing), "not all n members are listed");
    must(committee !== ZERO, "the committee's hash is missing");
    this.proposals += 1;
    this.proposed = true;
    this.committees.set(epoch, committee);
  }

  listNodeWithProof(from, epoch, declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress, signature) {
    this.changeable(epoch);
    const { seats } = this.set(epoch);
    const seat = this.seat(epoch, from);
    must(seat, "the account is not whitelisted for this epoch");
    const listing = { declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress };
    for (const name of ["declaredIp", "tmP2PListenAddress", "p2pListenAddress"]) {
      must(TEXT.test(listing[name]), `${name} must be 1 to 256 printable ASCII characters`);
    }
    const hash = digest(this.address, { epoch, account: from, ...listing });
    must(signature.by === `${pubKx} ${pubKy}` && signature.of === hash, "the identity key did not sign this");
    const other = seats.find((seat) => seat?.listing && seat.account !== from && seat.listing.pubKx === pubKx);
    must(!other, "another account has listed this identity key");
    seat.listing = listing;
  }

  listNode() {
    must(false, "the identity key must sign: call listNodeWithProof");
  }

  setCurrentEpoch() {
    must(false, "members decide: q of them call signalReady");
  }

  transferOwnership(from, to) {
    this.owners(from);
    this.pending = to;
  }

  acceptOwnership(from) {
    must(from === this.pending, "ownership was not offered to this account");
    Object.assign(this, { owner: from, pending: NOBODY });
  }

  signalReady(from, epoch, proposal, config) {
    must(config !== ZERO, "the config's hash is missing");
    this.waiting(epoch, proposal);
    if (this.says(from, epoch, WORD.ready, proposal, config)) {
      this.proposed = false;
      this.advance(epoch, config);
    }
  }

  signalAbort(from, epoch, proposal) {
    this.waiting(epoch, proposal);
    if (this.says(from, epoch, WORD.abort, proposal, ZERO)) this.endProposal(epoch);
  }

  signalRefresh(from, epoch, config) {
    must(config !== ZERO, "the config's hash is missing");
    must(this.current !== 0, "there is no current set to go on with");
    must(epoch === this.open, "only the epoch after the current one is open");
    if (this.says(from, epoch, WORD.refresh, 0, config)) {
      if (this.proposed) this.endProposal(epoch);
      this.sets.set(epoch, this.sets.get(this.current));
      this.advance(epoch, config);
    }
  }

  waiting(epoch, proposal) {
    must(epoch === this.open, "only the epoch after the current one is open");
    must(this.proposed && proposal === this.proposals, "this is not the proposal that waits");
  }

  says(from, epoch, ...word) {
    const deciding = this.current === 0 ? epoch : this.current;
    must(this.seat(deciding, from)?.listing, "only members of the current set decide");
    const text = word.join();
    must(this.words.get(from) !== text, "this account has said so already");
    this.words.set(from, text);
    const { n, k } = this.sets.get(deciding);
    const same = [...this.words.values()].filter((said) => said === text).length;
    return same >= Math.ceil((n + k) / 2);
  }

  endProposal(epoch) {
    this.proposed = false;
    this.committees.delete(epoch);
  }

  advance(epoch, config) {
    this.configs.set(epoch, config);
    this.current = epoch;
    this.words.clear();
  }
}
