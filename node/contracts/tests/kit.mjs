// What the tests share: an anvil of their own, the contract on it, members, and calls that tell the reason of a refusal.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { AbiCoder, Interface, SigningKey, TypedDataEncoder, getAddress, id } from "ethers";
import { COMMITTED } from "./compile.mjs";

export const CODE = JSON.parse(readFileSync(COMMITTED, "utf8"));
export const ABI = new Interface(CODE.abi);
export const WORD = { ready: 1, abort: 2, refresh: 3 };
export const ZERO = "0x" + "00".repeat(32);
export const NOBODY = "0x" + "00".repeat(20);

export const CHAIN = 424242;
const PORT = Number(process.env.TORUS_CONTRACTS_PORT ?? 27000);
/** Accounts that anvil signs for. */
const ACCOUNTS = 40;

/** The binary, or a failure that says how to get one: tests of a contract without a chain would prove nothing. */
function anvil() {
  if (process.env.ANVIL) return process.env.ANVIL;
  const name = `@foundry-rs/anvil-${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${name}/bin/anvil`);
  } catch {
    throw new Error(`${name} is not installed: run make contracts, or name an anvil 1.7: ANVIL=/path/to/anvil`);
  }
}

/** A chain on its own port. `place` keeps the test files apart, which run at the same time. */
export async function startChain(place) {
  // Somebody else's chain may have the port: ours is known by the time at which it begins.
  const began = 1_800_000_000 + process.pid;
  for (let port = PORT + place; port < PORT + 100; port += 10) {
    const options = ["--silent", "--port", port, "--chain-id", CHAIN, "--accounts", ACCOUNTS, "--timestamp", began];
    options.push("--hardfork", "cancun");
    const child = spawn(anvil(), options.map(String), { stdio: "ignore" });
    let ended = false;
    child.on("exit", () => (ended = true));
    child.on("error", () => (ended = true));
    process.on("exit", () => child.kill("SIGKILL"));
    const chain = new Chain(`http://127.0.0.1:${port}`, child);
    for (let tries = 0; tries < 300 && !ended; tries += 1) {
      try {
        const genesis = await chain.rpc("eth_getBlockByNumber", "0x0", false);
        if (Number(genesis.timestamp) !== began) break;
        chain.accounts = (await chain.rpc("eth_accounts")).map(getAddress);
        return chain;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    child.kill("SIGKILL");
  }
  throw new Error(`anvil answers on no port from ${PORT + place}: name others by TORUS_CONTRACTS_PORT`);
}

export class Refused extends Error {}

class Chain {
  constructor(url, child) {
    Object.assign(this, { url, child, accounts: [], count: 0 });
  }

  async rpc(method, ...params) {
    this.count += 1;
    const body = JSON.stringify({ jsonrpc: "2.0", id: this.count, method, params });
    const headers = { "content-type": "application/json" };
    const answer = await (await fetch(this.url, { method: "POST", headers, body })).json();
    if (!answer.error) return answer.result;
    const data = answer.error.data;
    if (typeof data === "string" && data.startsWith("0x08c379a0")) {
      throw new Refused(AbiCoder.defaultAbiCoder().decode(["string"], `0x${data.slice(10)}`)[0]);
    }
    throw new Error(`${method}: ${answer.error.message}`);
  }

  async mined(transaction) {
    const hash = await this.rpc("eth_sendTransaction", { gas: "0x989680", ...transaction });
    // anvil answers before it has mined.
    for (let tries = 0; tries < 400; tries += 1) {
      const receipt = await this.rpc("eth_getTransactionReceipt", hash);
      if (receipt) {
        assert.equal(receipt.status, "0x1");
        return receipt;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`${hash} was not mined`);
  }

  async deploy({ first = 1, owner = this.accounts[0] } = {}) {
    const data = CODE.bytecode + AbiCoder.defaultAbiCoder().encode(["uint256"], [first]).slice(2);
    await this.rpc("eth_call", { from: owner, data });
    const receipt = await this.mined({ from: owner, data });
    return new Contract(this, getAddress(receipt.contractAddress), owner, Number(receipt.gasUsed));
  }

  stop() {
    this.child.kill("SIGKILL");
  }
}

class Contract {
  constructor(chain, address, owner, deployGas) {
    Object.assign(this, { chain, address, owner, deployGas });
  }

  /** The result of a view: one value, or all by their names. */
  async read(name, ...args) {
    const call = { to: this.address, data: ABI.encodeFunctionData(name, args) };
    const result = ABI.decodeFunctionResult(name, await this.chain.rpc("eth_call", call, "latest"));
    return result.length === 1 ? plain(result[0]) : plain(result);
  }

  /** A transaction: its events and gas. Throws `Refused` with the reason. */
  async send(from, name, ...args) {
    const call = { from, to: this.address, data: ABI.encodeFunctionData(name, args) };
    await this.chain.rpc("eth_call", call, "latest");
    const receipt = await this.chain.mined(call);
    const events = receipt.logs.map((log) => ABI.parseLog(log)).map(({ name, args }) => [name, ...plain(args)]);
    return { events, gas: Number(receipt.gasUsed) };
  }

  async refuses(reason, from, name, ...args) {
    await assert.rejects(this.send(from, name, ...args), (error) => {
      assert.ok(error instanceof Refused, error.stack);
      assert.equal(error.message, reason);
      return true;
    });
  }

  /** Begins an epoch's set with seats for these members. */
  async begin(epoch, [n, k, t], members) {
    const accounts = members.map((member) => member.account);
    return this.send(this.owner, "updateEpoch", epoch, n, k, t, accounts, await this.read("currentEpoch"), 0);
  }

  async list(epoch, member, changes = {}) {
    const listing = { ...member.listing(epoch), ...changes };
    return this.send(member.account, ...arguments_(epoch, listing, member.sign(this.address, listing)));
  }

  /** An epoch's complete set, proposed: the proposal's number. */
  async propose(epoch, sizes, members, committee = id("committee")) {
    await this.begin(epoch, sizes, members);
    for (const member of members) await this.list(epoch, member);
    await this.send(this.owner, "proposeEpoch", epoch, committee);
    return this.read("proposals");
  }

  /** A contract whose first epoch is current. */
  async found(epoch, sizes, members, config = id("config")) {
    const proposal = await this.propose(epoch, sizes, members);
    const q = await this.read("quorum", epoch);
    for (const member of members.slice(0, Number(q))) {
      await this.send(member.account, "signalReady", epoch, proposal, config);
    }
    assert.equal(await this.read("currentEpoch"), BigInt(epoch));
  }
}

/** A member's account, and the identity key of its vault. */
export class Member {
  constructor(number, account) {
    this.number = number;
    this.account = account;
    this.key = new SigningKey(id(`identity ${number}`));
    const point = this.key.publicKey;
    this.pubKx = BigInt(`0x${point.slice(4, 68)}`);
    this.pubKy = BigInt(`0x${point.slice(68)}`);
  }

  listing(epoch) {
    return {
      epoch,
      account: this.account,
      declaredIp: `127.0.0.1:${17000 + this.number}`,
      pubKx: this.pubKx,
      pubKy: this.pubKy,
      tmP2PListenAddress: `/ip4/127.0.0.1/tcp/${18000 + this.number}`,
      p2pListenAddress: `/ip4/127.0.0.1/tcp/${19000 + this.number}`,
    };
  }

  sign(contract, listing, chainId = CHAIN) {
    return this.key.sign(digest(contract, listing, chainId)).serialized;
  }
}

export function members(chain, ...numbers) {
  return numbers.map((number) => new Member(number, chain.accounts[number]));
}

/** The hash that an identity key signs, made by another hand than the contract's: ethers' EIP-712. */
export function digest(contract, listing, chainId = CHAIN) {
  return TypedDataEncoder.hash(domain(contract, chainId), LISTING, listing);
}

export function domain(contract, chainId) {
  return { name: "Torus NodeList", version: "1", chainId, verifyingContract: contract };
}

export const LISTING = {
  Listing: [
    { name: "epoch", type: "uint256" },
    { name: "account", type: "address" },
    { name: "declaredIp", type: "string" },
    { name: "pubKx", type: "uint256" },
    { name: "pubKy", type: "uint256" },
    { name: "tmP2PListenAddress", type: "string" },
    { name: "p2pListenAddress", type: "string" },
  ],
};

/** The call that lists: name and arguments. */
export function arguments_(epoch, listing, signature) {
  const { declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress } = listing;
  return ["listNodeWithProof", epoch, declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress, signature];
}

function plain(value) {
  return Array.isArray(value) ? Array.from(value, plain) : value;
}
