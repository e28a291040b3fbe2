// The real npm packages, unmodified, read the node list from the contract. Their `updated` says that they did: without it
// one of them answers with addresses that it was built with.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createRequire } from "node:module";
import { id } from "ethers";
import { members, startChain } from "./kit.mjs";

const require = createRequire(import.meta.url);
let chain;

before(async () => {
  chain = await startChain(2);
});
after(() => chain.stop());

const point = (member) => ({ X: member.pubKx, Y: member.pubKy });
// They write numbers without leading zeros.
const number = ({ X, Y }) => ({ X: BigInt(`0x${X}`), Y: BigInt(`0x${Y}`) });

test("fetch_node_details_4_reads_the_set_and_follows_the_epoch", () => reads("fetch-node-details-legacy", "4.0.2"));
test("fetch_node_details_8_reads_the_set_and_follows_the_epoch", () => reads("fetch-node-details-newer", "8.1.1"));

async function reads(name, version) {
  assert.equal(require(`${name}/package.json`).version, version);
  const { default: NodeDetailManager } = require(name);
  const read = (contract) => {
    const manager = new NodeDetailManager({ network: chain.url, proxyAddress: contract.address });
    return manager.getNodeDetails({ verifier: "google", verifierId: "alice@example.org" });
  };
  const agrees = async (contract, epoch, set) => {
    const details = await read(contract);
    assert.equal(details.updated, true);
    assert.equal(Number(details.currentEpoch), epoch);
    assert.equal(details.nodeListAddress.toLowerCase(), contract.address.toLowerCase());
    assert.deepEqual(details.torusIndexes.map(Number), set.map((_, i) => i + 1));
    assert.deepEqual(details.torusNodePub.map(number), set.map(point));
    assert.deepEqual(details.torusNodeEndpoints, set.map((_, i) => `https://node${i + 1}.example.org/jrpc`));
  };
  const contract = await chain.deploy();
  const five = members(chain, 1, 2, 3, 4, 5);
  const nine = members(chain, 6, 7, 8, 9, 1, 2, 3, 4, 10);
  await assert.rejects(async () => {
    assert.equal((await read(contract)).updated, true);
  }, "nothing is read before a set is current");
  const propose = async (epoch, sizes, set) => {
    await contract.begin(epoch, sizes, set);
    for (const [i, member] of set.entries()) {
      await contract.list(epoch, member, { declaredIp: `node${i + 1}.example.org:443` });
    }
    await contract.send(contract.owner, "proposeEpoch", epoch, id("committee"));
  };
  const decide = async (epoch) => {
    const proposal = await contract.read("proposals");
    for (const member of five.slice(0, 4)) {
      await contract.send(member.account, "signalReady", epoch, proposal, id(`config ${epoch}`));
    }
  };
  await propose(1, [5, 3, 1], five);
  await decide(1);
  await agrees(contract, 1, five);
  await propose(2, [9, 5, 2], nine);
  await agrees(contract, 1, five);
  await decide(2);
  await agrees(contract, 2, nine);
}
