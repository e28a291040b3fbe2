// What calls cost, as a table: the figures of ../README.md.
//
//   npm run gas

import { id } from "ethers";
import { members, startChain } from "./kit.mjs";

const chain = await startChain(5);
const rows = [];
const five = members(chain, 1, 2, 3, 4, 5);
const nine = members(chain, 6, 7, 8, 9, 10, 11, 12, 13, 14);
const contract = await chain.deploy();
rows.push(["deployment", contract.deployGas]);

async function round(epoch, sizes, set, deciding) {
  const label = `(${sizes})`;
  rows.push([`updateEpoch ${label} with all its accounts`, (await contract.begin(epoch, sizes, set)).gas]);
  const listed = [];
  for (const member of set) {
    const changes = { declaredIp: `node${member.number}.operator.example.org` };
    listed.push((await contract.list(epoch, member, changes)).gas);
  }
  if (epoch === 1) rows.push(["listNodeWithProof, texts of 20 to 30 characters", Math.max(...listed)]);
  const proposed = await contract.send(contract.owner, "proposeEpoch", epoch, id(`committee ${epoch}`));
  if (epoch === 1) rows.push(["proposeEpoch", proposed.gas]);
  const q = Number(await contract.read("quorum", Number(await contract.read("currentEpoch")) || epoch));
  const words = [];
  for (const member of deciding.slice(0, q)) {
    const proposal = await contract.read("proposals");
    words.push((await contract.send(member.account, "signalReady", epoch, proposal, id(`config ${epoch}`))).gas);
  }
  rows.push([`signalReady for epoch ${epoch}, first / further / the ${q}th, which passes the epoch`, three(words)]);
}

await round(1, [5, 3, 1], five, five);
await round(2, [9, 5, 2], nine, five);
const refresh = [];
for (const member of nine.slice(0, 7)) {
  refresh.push((await contract.send(member.account, "signalRefresh", 3, id("config 3"))).gas);
}
rows.push(["signalRefresh for epoch 3, first / further / the 7th", three(refresh)]);
await contract.begin(4, [5, 3, 1], five.slice(0, 4));
const whitelist = (allowed) => contract.send(contract.owner, "updateWhitelist", 4, five[4].account, allowed);
rows.push(["updateWhitelist, a seat given", (await whitelist(true)).gas]);
await contract.list(4, five[4]);
rows.push(["updateWhitelist, seat and listing taken", (await whitelist(false)).gas]);

for (const [what, gas] of rows) console.log(`| ${what} | ${typeof gas === "number" ? thousands(gas) : gas} |`);
chain.stop();

function three(gas) {
  return [gas[0], gas[1], gas.at(-1)].map(thousands).join(" / ");
}

function thousands(gas) {
  return gas.toLocaleString("en-US");
}
