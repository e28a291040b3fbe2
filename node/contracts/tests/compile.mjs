// Compiles NodeList.sol with the compiler that the lock pins, into what is committed as NodeList.json.
//
//   npm run compile     writes it; the test `the_committed_code_is_what_the_source_compiles_to` compares

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRequire } from "node:module";
import { keccak256 } from "ethers";

const solc = createRequire(import.meta.url)("solc");
const beside = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));

export const COMMITTED = beside("NodeList.json");
export const SOURCE = beside("NodeList.sol");

const SETTINGS = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  // No metadata behind the code: the same source gives the same bytes wherever it lies.
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode"] } },
};

/** The text of NodeList.json. Throws on the compiler's first word, warnings included. */
export function compile() {
  const input = {
    language: "Solidity",
    sources: { "NodeList.sol": { content: readFileSync(SOURCE, "utf8") } },
    settings: SETTINGS,
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const said = (output.errors ?? []).map((error) => error.formattedMessage);
  if (said.length > 0) throw new Error(said.join("\n"));
  const { abi, evm } = output.contracts["NodeList.sol"].NodeList;
  // Nothing is filled in when it is deployed, so that one hash names the code on every chain.
  if (Object.keys(evm.deployedBytecode.immutableReferences ?? {}).length > 0) throw new Error("immutables");
  const deployed = `0x${evm.deployedBytecode.object}`;
  const { outputSelection, ...settings } = SETTINGS;
  return [
    "{",
    `  "contractName": "NodeList",`,
    `  "compiler": ${JSON.stringify(solc.version())},`,
    `  "settings": ${JSON.stringify(settings)},`,
    `  "abi": [\n${abi.map((entry) => `    ${JSON.stringify(entry)}`).join(",\n")}\n  ],`,
    `  "bytecode": "0x${evm.bytecode.object}",`,
    `  "deployedBytecode": "${deployed}",`,
    `  "codeHash": "${keccak256(deployed)}"`,
    "}\n",
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(COMMITTED, compile());
}
