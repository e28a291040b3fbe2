// A known answer for whoever builds a listing's statement elsewhere: everything on the way from its fields to the
// signature.
//
//   npm run known       writes it to listing.json

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { TypedDataEncoder, getCreateAddress, id, toBeHex } from "ethers";
import { CHAIN, LISTING, Member, digest, domain } from "./kit.mjs";

/** Two of anvil's accounts, which are the same everywhere. */
export const DEPLOYER = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";
const ACCOUNT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

export function knownListing() {
  const contract = getCreateAddress({ from: DEPLOYER, nonce: 0 });
  const member = new Member(1, ACCOUNT);
  const listing = { ...member.listing(1), declaredIp: "one.example.org:443" };
  return {
    identityPrivateKey: id("identity 1"),
    domain: domain(contract, CHAIN),
    listing: { ...listing, pubKx: toBeHex(listing.pubKx, 32), pubKy: toBeHex(listing.pubKy, 32) },
    domainType: "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
    listingType: TypedDataEncoder.from(LISTING).encodeType("Listing"),
    domainSeparator: TypedDataEncoder.hashDomain(domain(contract, CHAIN)),
    structHash: TypedDataEncoder.hashStruct("Listing", LISTING, listing),
    preimage: TypedDataEncoder.encode(domain(contract, CHAIN), LISTING, listing),
    digest: digest(contract, listing),
    signature: member.sign(contract, listing),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = fileURLToPath(new URL("../listing.json", import.meta.url));
  writeFileSync(path, `${JSON.stringify(knownListing(), null, 2)}\n`);
}
