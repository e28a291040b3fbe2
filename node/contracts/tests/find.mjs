// The real npm package in three of its generations, unmodified, looks for the members of a running network: two in the
// contract, one at a member. Prints what each found, as JSON.
//
// node find.mjs NETWORK.JSON

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const network = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { rpc, address } = network.registry;
const asked = { verifier: "google", verifierId: "alice@example.org" };

const found = {};
for (const name of ["fetch-node-details-legacy", "fetch-node-details-newer"]) {
  const { default: NodeDetailManager } = require(name);
  found[name] = await new NodeDetailManager({ network: rpc, proxyAddress: address }).getNodeDetails(asked);
}
{
  const name = "fetch-node-details-served";
  const { NodeDetailManager } = require(name);
  const fndServerEndpoint = network.members[0].endpoint.replace(/\/jrpc$/, "/node-details");
  const manager = new NodeDetailManager({ network: "sapphire_devnet", fndServerEndpoint });
  found[name] = await manager.getNodeDetails(asked);
}
console.log(JSON.stringify(found));
