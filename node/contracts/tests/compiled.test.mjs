// What is committed: the code of this source, with the interface that clients and nodes know, and a known answer for
// whoever builds the signed statement elsewhere.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { keccak256 } from "ethers";
import { COMMITTED, compile } from "./compile.mjs";
import { ABI, CODE, Member, startChain } from "./kit.mjs";
import { DEPLOYER, knownListing } from "./known.mjs";

let chain;
before(async () => {
  chain = await startChain(3);
});
after(() => chain.stop());

test("the_committed_code_is_what_the_source_compiles_to", () => {
  // Not assert.equal: thousands of digits would be printed.
  const same = readFileSync(COMMITTED, "utf8") === compile();
  assert.ok(same, "NodeList.json is not of this source: npm run compile");
});

test("the_deployed_code_has_the_committed_hash_wherever_it_begins", async () => {
  for (const first of [1, 7]) {
    const contract = await chain.deploy({ first });
    const code = await chain.rpc("eth_getCode", contract.address, "latest");
    assert.equal(keccak256(code), CODE.codeHash);
    assert.equal(await contract.read("firstEpoch"), BigInt(first));
  }
  assert.ok(CODE.deployedBytecode.length / 2 - 1 <= 24576, "more than a chain takes");
});

test("the_interface_is_the_one_that_clients_and_nodes_know", () => {
  const selectors = {
    "currentEpoch()": "0x76671808",
    "getEpochInfo(uint256)": "0x135022c2",
    "getNodeDetails(address)": "0xbafb3581",
    "getNodeSet(string,bytes32)": "0xd59936e9",
    "listNode(uint256,string,uint256,uint256,string,string)": "0xbf2d6f81",
    "nodeDetails(address)": "0x859da85f",
    "getNodes(uint256)": "0x47de074f",
    "isWhitelisted(uint256,address)": "0x7d22c35c",
    "nodeRegistered(uint256,address)": "0x86470e9e",
    "whitelist(uint256,address)": "0x4b25bfce",
    "epochInfo(uint256)": "0x3894228e",
    "getPssStatus(uint256,uint256)": "0xc7aa8ff7",
    "pssStatus(uint256,uint256)": "0x52fc47b4",
    "updateEpoch(uint256,uint256,uint256,uint256,address[],uint256,uint256)": "0xae4df20c",
    "updateWhitelist(uint256,address,bool)": "0x3d4602a9",
    "setCurrentEpoch(uint256)": "0x1dd6b9b1",
  };
  for (const [name, selector] of Object.entries(selectors)) assert.equal(ABI.getFunction(name)?.selector, selector, name);
  const outputs = (name) => ABI.getFunction(name).outputs.map((output) => output.type).join();
  assert.equal(outputs("currentEpoch"), "uint256");
  assert.equal(outputs("getEpochInfo"), "uint256,uint256,uint256,uint256,address[],uint256,uint256");
  assert.equal(outputs("epochInfo"), "uint256,uint256,uint256,uint256,uint256,uint256");
  for (const name of ["getNodeDetails", "nodeDetails", "nodeDetailsIn"]) {
    assert.equal(outputs(name), "string,uint256,uint256,uint256,string,string");
  }
  assert.equal(outputs("getNodeSet"), "uint256,string[],uint256[],uint256[],uint256[]");
  assert.equal(outputs("getNodes"), "address[]");
  const event = (name) => ABI.getEvent(name).inputs.map(({ type, indexed }) => `${type}${indexed ? " indexed" : ""}`);
  assert.deepEqual(event("NodeListed"), ["address", "uint256", "uint256"]);
  assert.deepEqual(event("EpochChanged"), ["uint256", "uint256"]);
});

test("the_known_answer_of_a_listing_is_as_committed_and_the_contract_takes_it", async () => {
  const known = JSON.parse(readFileSync(new URL("../listing.json", import.meta.url), "utf8"));
  assert.deepEqual(known, knownListing(), "listing.json is not what is signed: npm run known");
  // The contract's address in it is that of this account's first one.
  const contract = await chain.deploy({ owner: DEPLOYER });
  assert.equal(contract.address, known.domain.verifyingContract);
  const member = new Member(1, known.listing.account);
  await contract.begin(1, [5, 3, 1], [member]);
  const { epoch, declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress } = known.listing;
  const call = [epoch, declaredIp, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress, known.signature];
  await contract.send(known.listing.account, "listNodeWithProof", ...call);
  assert.equal(await contract.read("nodeRegistered", 1, member.account), true);
});
