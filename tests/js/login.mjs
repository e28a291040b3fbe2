// The real npm clients, unmodified, look users up and retrieve their keys from the network that a devnet's
// network.json describes. Refuses every connection that is not to loopback.
//
//   node login.mjs NETWORK.json [EMAIL=ADDRESS …]
//
// Without users it takes one new user per client. With EMAIL=ADDRESS the address must be what every client finds.
// Prints one JSON object: {"clients":[{"client","email","address","seconds"}], "agreed":{email:address}}.

import { readFileSync } from "node:fs";
import dns from "node:dns";
import { isIP, Socket } from "node:net";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);
stayAtHome();

await provenAtHome();

const require = createRequire(import.meta.url);
const Legacy = require("torus-legacy").default;
const { Torus: Newest } = require("torus-newest");

const [networkFile, ...expected] = process.argv.slice(2);
if (!networkFile) fail("usage: node login.mjs NETWORK.json [EMAIL=ADDRESS …]");
const network = JSON.parse(readFileSync(networkFile, "utf8"));
const verifier = network.verifiers[0].name;
const origin = new URL(network.mint).origin;
const endpoints = network.members.map((member) => member.endpoint);
const indexes = network.members.map((member) => member.index);
const nodePubs = network.members.map((member) => ({ X: member.pubkey.x, Y: member.pubkey.y }));

// TORUS_CLIENT=torus-legacy or torus-newest takes that one alone.
const only = process.env.TORUS_CLIENT;
const clients = [
  {
    package: "torus-legacy",
    name: `@toruslabs/torus.js ${require("torus-legacy/package.json").version}`,
    // The legacy network's name keeps hosted nonces out of the key: what the nodes hold is the user's key.
    make: () =>
      new Legacy({
        network: "mainnet",
        clientId: "devnet",
        allowHost: `${origin}/allow`,
        signerHost: `${origin}/sign`,
        metadataHost: `${origin}/metadata`,
        enableOneKey: false,
      }),
    address: async (torus, email) => {
      const found = await torus.getPublicAddress(endpoints, nodePubs, { verifier, verifierId: email });
      return typeof found === "string" ? found : found.address;
    },
    login: async (torus, email, idToken) => {
      const key = await torus.retrieveShares(endpoints, indexes, verifier, { verifier_id: email }, idToken);
      return { address: key.ethAddress, privateKey: key.privKey };
    },
  },
  {
    package: "torus-newest",
    name: `@toruslabs/torus.js ${require("torus-newest/package.json").version}`,
    make: () =>
      new Newest({
        network: "mainnet",
        clientId: "devnet",
        allowHost: `${origin}/allow`,
        legacyMetadataHost: `${origin}/metadata`,
      }),
    address: async (torus, email) => {
      const found = await torus.getPublicAddress(endpoints, nodePubs, { verifier, verifierId: email });
      return found.oAuthKeyData.walletAddress ?? found.oAuthKeyData.evmAddress;
    },
    login: async (torus, email, idToken) => {
      const key = await torus.retrieveShares({
        endpoints,
        indexes,
        nodePubkeys: nodePubs,
        verifier,
        verifierParams: { verifier_id: email },
        idToken,
        useDkg: true,
        checkCommitment: true,
      });
      return { address: key.oAuthKeyData.walletAddress ?? key.oAuthKeyData.evmAddress, privateKey: key.oAuthKeyData.privKey };
    },
  },
].filter((client) => !only || client.package === only);

const fresh = () => `user-${randomBytes(6).toString("hex")}@example.com`;
const users = new Map();
for (const pair of expected) {
  const cut = pair.lastIndexOf("=");
  if (cut < 1) fail(`${pair} is not EMAIL=ADDRESS`);
  users.set(pair.slice(0, cut), pair.slice(cut + 1).toLowerCase());
}
if (users.size === 0) for (const _ of clients) users.set(fresh(), undefined);

const done = [];
const agreed = {};
let turn = 0;
for (const [email, known] of users) {
  // Each client is the first for some user, so each one's own way to have a key assigned is taken.
  const order = clients.map((_, i) => clients[(turn + i) % clients.length]);
  turn += 1;
  let address = known;
  for (const client of order) {
    const torus = client.make();
    const started = performance.now();
    const looked = (await client.address(torus, email)).toLowerCase();
    const key = await client.login(torus, email, await mint(email));
    const seconds = Number(((performance.now() - started) / 1000).toFixed(3));
    if (!/^(0x)?[0-9a-f]{1,64}$/i.test(key.privateKey ?? "")) fail(`${client.name}: no private key for ${email}`);
    const held = addressOf(key.privateKey);
    address ??= looked;
    for (const [what, value] of [["lookup", looked], ["login", key.address.toLowerCase()], ["key", held]]) {
      if (value !== address) fail(`${client.name}: ${what} of ${email} gives ${value}, not ${address}`);
    }
    done.push({ client: client.name, email, address, seconds });
  }
  agreed[email] = address;
}
console.log(JSON.stringify({ clients: done, agreed }));
process.exit(0);

async function mint(email) {
  const answer = await fetch(network.mint + encodeURIComponent(email));
  if (!answer.ok) fail(`the issuer answers ${answer.status}: ${await answer.text()}`);
  return answer.text();
}

/// The address of a private key, worked out apart from the clients.
function addressOf(hex) {
  const { ec: Curve } = require("elliptic");
  const { keccak256 } = require("ethereum-cryptography/keccak");
  const point = new Curve("secp256k1").keyFromPrivate(hex.replace(/^0x/, ""), "hex").getPublic();
  const xy = Uint8Array.from(point.encode("array", false).slice(1));
  return `0x${Buffer.from(keccak256(xy)).subarray(12).toString("hex")}`;
}

/// Whatever a client tries, no name is resolved and no packet sent beyond this machine.
function stayAtHome() {
  const refuse = (host) => {
    throw new Error(`refused: ${host} is not loopback`);
  };
  const connect = Socket.prototype.connect;
  Socket.prototype.connect = function guarded(...args) {
    const options = Array.isArray(args[0]) ? args[0][0] : args[0];
    const host = typeof options === "object" ? (options.path ?? options.host ?? "localhost") : args[1];
    if (typeof host === "string" && !LOOPBACK.has(host)) refuse(host);
    return connect.apply(this, args);
  };
  const lookup = dns.lookup;
  dns.lookup = function guarded(host, ...rest) {
    if (!LOOPBACK.has(host) && !isIP(host)) refuse(host);
    return lookup.call(this, host, ...rest);
  };
  const wrapped = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    const host = new URL(input?.url ?? input).hostname.replace(/^\[|\]$/g, "");
    if (!LOOPBACK.has(host)) refuse(host);
    return wrapped(input, init);
  };
}

/// A guard that guards nothing would let every check below pass.
async function provenAtHome() {
  const outside = "192.0.2.1";
  const ways = [
    () => fetch(`http://${outside}/`),
    async () => new Socket().connect(80, outside),
    async () => new Socket().connect({ port: 80, host: outside }),
    () => new Promise((_, reject) => reject(dns.lookup("example.com", () => {}))),
  ];
  for (const way of ways) {
    const said = await way().then(() => "", (error) => String(error));
    if (!said.includes("refused")) fail(`the guard let a connection out: ${said}`);
  }
}

function fail(why) {
  console.error(why);
  process.exit(1);
}
