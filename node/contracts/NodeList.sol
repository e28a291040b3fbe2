// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Where clients and nodes of one network find its members, and where its next committee comes together.
///
/// It holds no key and no money, and it decides nothing: the owner proposes a set of members, every member lists itself
/// with its vault's signature, and q members of the current set say what their log has decided. No time passes anything.
/// See README.md beside this file.
contract NodeList {
    /// One member, in the shape that clients read. `declaredIp` is host[:port] of its JSON-RPC interface.
    struct Details {
        string declaredIp;
        uint256 position;
        uint256 pubKx;
        uint256 pubKy;
        string tmP2PListenAddress;
        string p2pListenAddress;
    }

    /// A set of members. An account's seat is its index from 1: what its shares are interpolated at.
    struct Set {
        uint8 n;
        uint8 k;
        uint8 t;
        uint8 listed;
        mapping(uint256 => address) accountAt;
        mapping(address => uint256) seatOf;
        mapping(address => Details) details;
        // By the address of an identity key: nobody is two members.
        mapping(address => address) accountOf;
    }

    /// What a member says that the log has decided.
    enum Word {
        None,
        Ready,
        Abort,
        Refresh
    }

    /// A member's latest word about the epoch that comes next.
    struct Signal {
        Word word;
        uint64 proposal;
        bytes32 configHash;
    }

    uint256 public constant MAX_TEXT = 256;
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant LISTING_TYPE = keccak256(
        "Listing(uint256 epoch,address account,string declaredIp,uint256 pubKx,uint256 pubKy,string tmP2PListenAddress,string p2pListenAddress)"
    );
    // Half of the group's order: of a signature's two texts only the one with the lower s is taken.
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    address public owner;
    address public pendingOwner;
    /// Zero until the members of the first set have said that they are ready.
    uint256 public currentEpoch;
    /// The first epoch that this contract knows: 1, or a later one of a network that changes to it.
    uint256 public firstEpoch;
    /// How many proposals there were: the number of the newest.
    uint64 public proposals;
    /// Whether the newest proposal waits for the members' decision. Until then the proposed set does not change.
    bool public proposed;
    /// The hash of a proposed epoch's committee: what operators compare with the one that they approve.
    mapping(uint256 => bytes32) public committeeHash;
    /// The hash of an epoch's whole config, as q members read it in their log.
    mapping(uint256 => bytes32) public configHash;
    /// A member's latest word about an epoch.
    mapping(uint256 => mapping(address => Signal)) public signals;

    uint256 private sets;
    mapping(uint256 => Set) private setAt;
    mapping(uint256 => uint256) private setOf;
    mapping(bytes32 => uint256) private tally;

    event NodeListed(address publicKey, uint256 epoch, uint256 position);
    event EpochChanged(uint256 oldEpoch, uint256 newEpoch);
    /// A set begins, with no seat taken.
    event EpochUpdated(uint256 indexed epoch, uint256 n, uint256 k, uint256 t);
    event WhitelistUpdated(uint256 indexed epoch, address indexed account, uint256 position, bool allowed);
    event NodeRemoved(uint256 indexed epoch, address indexed account, uint256 position);
    event EpochProposed(uint256 indexed epoch, uint256 indexed proposal, bytes32 committeeHash);
    event Signalled(
        uint256 indexed epoch, uint256 indexed proposal, address indexed account, Word word, bytes32 configHash
    );
    /// The members aborted, or went on without, a proposal.
    event ProposalEnded(uint256 indexed epoch, uint256 indexed proposal);
    event ConfigDecided(uint256 indexed epoch, bytes32 configHash);
    event OwnershipTransferStarted(address indexed from, address indexed to);
    event OwnershipTransferred(address indexed from, address indexed to);

    modifier onlyOwner() {
        require(msg.sender == owner, "only the owner may do this");
        _;
    }

    constructor(uint256 first) {
        require(first != 0, "epochs count from 1");
        firstEpoch = first;
        owner = msg.sender;
        emit OwnershipTransferred(address(0), msg.sender);
    }

    // The owner proposes.

    /// Begins the set of the next epoch, or begins it anew: an earlier draft with all its listings is gone. `nodeList`
    /// are accounts that may list themselves, in the order of their indices; `updateWhitelist` adds further ones.
    function updateEpoch(
        uint256 epoch,
        uint256 n,
        uint256 k,
        uint256 t,
        address[] calldata nodeList,
        uint256 prevEpoch,
        uint256 nextEpoch
    ) external onlyOwner {
        _requireOpen(epoch);
        require(prevEpoch == currentEpoch, "prevEpoch must be the current epoch");
        require(nextEpoch == 0, "nextEpoch must be 0: a proposal sets it");
        checkSizes(n, k, t);
        require(nodeList.length <= n, "more accounts than seats");
        setOf[epoch] = ++sets;
        Set storage set = setAt[sets];
        (set.n, set.k, set.t) = (uint8(n), uint8(k), uint8(t));
        emit EpochUpdated(epoch, n, k, t);
        for (uint256 i = 0; i < nodeList.length; ++i) {
            _seat(set, epoch, nodeList[i], i + 1);
        }
    }

    /// Gives an account the lowest free seat of the next set, or takes its seat and its listing.
    function updateWhitelist(uint256 epoch, address account, bool allowed) external onlyOwner {
        _requireOpen(epoch);
        Set storage set = _set(epoch);
        uint256 seat = set.seatOf[account];
        if (allowed) {
            for (seat = 1; set.accountAt[seat] != address(0); ++seat) {}
            require(seat <= set.n, "all n seats are taken");
            _seat(set, epoch, account, seat);
            return;
        }
        require(seat != 0, "the account is not whitelisted for this epoch");
        if (set.details[account].position != 0) {
            _unlist(set, account);
            emit NodeRemoved(epoch, account, seat);
        }
        delete set.accountAt[seat];
        delete set.seatOf[account];
        emit WhitelistUpdated(epoch, account, seat, false);
    }

    /// Proposes the next set, complete: it changes no more until q members have decided. `committee` is the hash that
    /// operators are to approve on their vaults' hosts.
    function proposeEpoch(uint256 epoch, bytes32 committee) external onlyOwner {
        _requireOpen(epoch);
        Set storage set = _set(epoch);
        require(set.listed == set.n, "not all n members are listed");
        require(committee != 0, "the committee's hash is missing");
        proposed = true;
        committeeHash[epoch] = committee;
        emit EpochProposed(epoch, ++proposals, committee);
    }

    /// The first of two steps; the zero address takes an offer back.
    function transferOwnership(address to) external onlyOwner {
        pendingOwner = to;
        emit OwnershipTransferStarted(owner, to);
    }

    /// The second step, by the new owner.
    function acceptOwnership() external {
        require(msg.sender == pendingOwner, "ownership was not offered to this account");
        emit OwnershipTransferred(owner, msg.sender);
        owner = msg.sender;
        pendingOwner = address(0);
    }

    /// Refused: an epoch becomes the current one when q members have seen it in their log.
    function setCurrentEpoch(uint256) external pure {
        revert("members decide: q of them call signalReady");
    }

    // Members list themselves.

    /// Refused: nothing would show that the key is a vault's.
    function listNode(uint256, string calldata, uint256, uint256, string calldata, string calldata) external pure {
        revert("the identity key must sign: call listNodeWithProof");
    }

    /// Takes the caller's seat in the next set. `signature` (r, s, v: 65 bytes) is by the vault's identity key
    /// (pubKx, pubKy) over `listingDigest`. Until the set is proposed a member may list itself anew.
    function listNodeWithProof(
        uint256 epoch,
        string calldata declaredIp,
        uint256 pubKx,
        uint256 pubKy,
        string calldata tmP2PListenAddress,
        string calldata p2pListenAddress,
        bytes calldata signature
    ) external {
        _list(epoch, Details(declaredIp, 0, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress), signature);
    }

    // Members say what the log has decided. Each has one word: a later one takes the place of an earlier one.

    /// The log's last block of this epoch names the config `hash` of the proposed epoch. With q equal words the proposed
    /// epoch is the current one. Before there is a current set, the proposed one speaks for itself.
    function signalReady(uint256 epoch, uint256 proposal, bytes32 hash) external {
        require(hash != 0, "the config's hash is missing");
        _requireProposal(epoch, proposal);
        if (_signal(epoch, Signal(Word.Ready, uint64(proposal), hash))) {
            proposed = false;
            _advance(epoch, hash);
        }
    }

    /// The log has given the proposal up. With q such words the owner may change the set and propose again.
    function signalAbort(uint256 epoch, uint256 proposal) external {
        _requireProposal(epoch, proposal);
        if (_signal(epoch, Signal(Word.Abort, uint64(proposal), 0))) {
            _endProposal(epoch);
        }
    }

    /// The log has gone on to the next epoch with the same members. With q equal words the contract follows; a draft or
    /// proposal for that epoch is gone.
    function signalRefresh(uint256 epoch, bytes32 hash) external {
        require(hash != 0, "the config's hash is missing");
        require(currentEpoch != 0, "there is no current set to go on with");
        require(epoch == openEpoch(), "only the epoch after the current one is open");
        if (_signal(epoch, Signal(Word.Refresh, 0, hash))) {
            if (proposed) {
                _endProposal(epoch);
            }
            setOf[epoch] = setOf[currentEpoch];
            _advance(epoch, hash);
        }
    }

    // Reading, in the shapes of the network's clients.

    /// Members that are listed, in the order of their indices. When n are listed, an index is the place in it from 1.
    function getNodes(uint256 epoch) public view returns (address[] memory nodes) {
        Set storage set = _set(epoch);
        nodes = new address[](set.listed);
        uint256 found = 0;
        for (uint256 seat = 1; seat <= set.n; ++seat) {
            address account = set.accountAt[seat];
            if (set.details[account].position != 0) {
                nodes[found++] = account;
            }
        }
    }

    function getEpochInfo(uint256 epoch)
        external
        view
        returns (
            uint256 id,
            uint256 n,
            uint256 k,
            uint256 t,
            address[] memory nodeList,
            uint256 prevEpoch,
            uint256 nextEpoch
        )
    {
        nodeList = getNodes(epoch);
        (id, n, k, t, prevEpoch, nextEpoch) = epochInfo(epoch);
    }

    function epochInfo(uint256 epoch)
        public
        view
        returns (uint256 id, uint256 n, uint256 k, uint256 t, uint256 prevEpoch, uint256 nextEpoch)
    {
        Set storage set = _set(epoch);
        bool followed = epoch < currentEpoch || (epoch == currentEpoch && proposed);
        return (epoch, set.n, set.k, set.t, epoch == firstEpoch ? 0 : epoch - 1, followed ? epoch + 1 : 0);
    }

    /// The details of a member of the current set, or else of the next one.
    function getNodeDetails(address nodeAddress)
        external
        view
        returns (
            string memory declaredIp,
            uint256 position,
            uint256 pubKx,
            uint256 pubKy,
            string memory tmP2PListenAddress,
            string memory p2pListenAddress
        )
    {
        return nodeDetails(nodeAddress);
    }

    /// As `getNodeDetails`.
    function nodeDetails(address nodeAddress)
        public
        view
        returns (
            string memory declaredIp,
            uint256 position,
            uint256 pubKx,
            uint256 pubKy,
            string memory tmP2PListenAddress,
            string memory p2pListenAddress
        )
    {
        bool current = nodeRegistered(currentEpoch, nodeAddress);
        return nodeDetailsIn(current ? currentEpoch : openEpoch(), nodeAddress);
    }

    /// The members' JSON-RPC hosts, identity keys and indices of the current epoch, whatever the user.
    function getNodeSet(string calldata, bytes32)
        external
        view
        returns (
            uint256 epoch,
            string[] memory torusNodeEndpoints,
            uint256[] memory torusNodePubX,
            uint256[] memory torusNodePubY,
            uint256[] memory torusIndexes
        )
    {
        require(currentEpoch != 0, "no epoch is the current one yet");
        epoch = currentEpoch;
        Set storage set = _set(epoch);
        torusNodeEndpoints = new string[](set.n);
        torusNodePubX = new uint256[](set.n);
        torusNodePubY = new uint256[](set.n);
        torusIndexes = new uint256[](set.n);
        for (uint256 i = 0; i < set.n; ++i) {
            Details storage details = set.details[set.accountAt[i + 1]];
            torusNodeEndpoints[i] = details.declaredIp;
            torusNodePubX[i] = details.pubKx;
            torusNodePubY[i] = details.pubKy;
            torusIndexes[i] = details.position;
        }
    }

    function isWhitelisted(uint256 epoch, address account) public view returns (bool) {
        return setAt[setOf[epoch]].seatOf[account] != 0;
    }

    /// As `isWhitelisted`.
    function whitelist(uint256 epoch, address account) external view returns (bool) {
        return isWhitelisted(epoch, account);
    }

    function nodeRegistered(uint256 epoch, address account) public view returns (bool) {
        return setAt[setOf[epoch]].details[account].position != 0;
    }

    /// 1 while an epoch's successor is proposed, 2 once it has followed, else 0.
    function getPssStatus(uint256 oldEpoch, uint256 newEpoch) public view returns (uint256) {
        if (oldEpoch < firstEpoch || newEpoch <= oldEpoch || newEpoch - oldEpoch != 1) {
            return 0;
        }
        return newEpoch <= currentEpoch ? 2 : oldEpoch == currentEpoch && proposed ? 1 : 0;
    }

    /// As `getPssStatus`.
    function pssStatus(uint256 oldEpoch, uint256 newEpoch) external view returns (uint256) {
        return getPssStatus(oldEpoch, newEpoch);
    }

    // Reading, for this network's nodes.

    /// The epoch whose set is in the making.
    function openEpoch() public view returns (uint256) {
        return currentEpoch == 0 ? firstEpoch : currentEpoch + 1;
    }

    /// A listed member of one epoch's set; zeros if it is not listed there.
    function nodeDetailsIn(uint256 epoch, address account)
        public
        view
        returns (
            string memory declaredIp,
            uint256 position,
            uint256 pubKx,
            uint256 pubKy,
            string memory tmP2PListenAddress,
            string memory p2pListenAddress
        )
    {
        Details storage d = setAt[setOf[epoch]].details[account];
        return (d.declaredIp, d.position, d.pubKx, d.pubKy, d.tmP2PListenAddress, d.p2pListenAddress);
    }

    /// The n seats by index: accounts that may list themselves, zero where a seat is free.
    function getSeats(uint256 epoch) external view returns (address[] memory seats) {
        Set storage set = _set(epoch);
        seats = new address[](set.n);
        for (uint256 i = 0; i < set.n; ++i) {
            seats[i] = set.accountAt[i + 1];
        }
    }

    /// How many members of an epoch's set decide: ceil((n+k)/2), so that any two such groups share k.
    function quorum(uint256 epoch) public view returns (uint256) {
        return _quorum(_set(epoch));
    }

    /// How many members' word this is.
    function signalCount(uint256 epoch, Word word, uint256 proposal, bytes32 hash) external view returns (uint256) {
        return tally[keccak256(abi.encode(epoch, word, proposal, hash))];
    }

    /// What the identity key signs: an EIP-712 hash that binds chain, contract, epoch, account and all that is listed.
    function listingDigest(
        uint256 epoch,
        address account,
        string calldata declaredIp,
        uint256 pubKx,
        uint256 pubKy,
        string calldata tmP2PListenAddress,
        string calldata p2pListenAddress
    ) external view returns (bytes32) {
        return _digest(epoch, account, Details(declaredIp, 0, pubKx, pubKy, tmP2PListenAddress, p2pListenAddress));
    }

    /// Refuses sizes that the protocol is not sound for, by the rule that they break: the vault's own rules, in its order.
    function checkSizes(uint256 n, uint256 k, uint256 t) public pure {
        require(n >= 4 && n <= 30 && t >= 1 && t <= 10, "n must be 4 to 30 and t at least 1");
        require(k == n / 2 + 1, "k must be floor(n/2) + 1");
        require(n >= k + 2 * t, "n must be at least k + 2t");
        // The rule before implies this one for every n and t in range; it stands here because it is a rule.
        require(n > 3 * t, "n must be more than 3t");
        require(
            2 * (2 * n / 3 + 1) >= n + k,
            "the engine's quorums must intersect in k members: 2*(floor(2n/3)+1) - n >= k"
        );
    }

    // What the above is made of.

    function _seat(Set storage set, uint256 epoch, address account, uint256 seat) private {
        require(account != address(0), "the zero address is no account");
        require(set.seatOf[account] == 0, "the account has a seat already");
        set.accountAt[seat] = account;
        set.seatOf[account] = seat;
        emit WhitelistUpdated(epoch, account, seat, true);
    }

    function _list(uint256 epoch, Details memory details, bytes calldata signature) private {
        _requireOpen(epoch);
        Set storage set = _set(epoch);
        uint256 seat = set.seatOf[msg.sender];
        require(seat != 0, "the account is not whitelisted for this epoch");
        require(_isText(details.declaredIp), "declaredIp must be 1 to 256 printable ASCII characters");
        require(_isText(details.tmP2PListenAddress), "tmP2PListenAddress must be 1 to 256 printable ASCII characters");
        require(_isText(details.p2pListenAddress), "p2pListenAddress must be 1 to 256 printable ASCII characters");
        address identity = _identity(details.pubKx, details.pubKy);
        bytes32 digest = _digest(epoch, msg.sender, details);
        require(_signer(digest, signature) == identity, "the identity key did not sign this");
        if (set.details[msg.sender].position != 0) {
            _unlist(set, msg.sender);
        }
        require(set.accountOf[identity] == address(0), "another account has listed this identity key");
        details.position = seat;
        set.accountOf[identity] = msg.sender;
        set.details[msg.sender] = details;
        set.listed += 1;
        emit NodeListed(msg.sender, epoch, seat);
    }

    function _unlist(Set storage set, address account) private {
        delete set.accountOf[_identity(set.details[account].pubKx, set.details[account].pubKy)];
        delete set.details[account];
        set.listed -= 1;
    }

    /// Records the caller's word; whether q members of the deciding set now say the same.
    function _signal(uint256 epoch, Signal memory signal) private returns (bool) {
        uint256 deciding = currentEpoch == 0 ? epoch : currentEpoch;
        require(nodeRegistered(deciding, msg.sender), "only members of the current set decide");
        Signal storage earlier = signals[epoch][msg.sender];
        bytes32 said = _wordHash(epoch, earlier);
        bytes32 says = _wordHash(epoch, signal);
        require(said != says, "this account has said so already");
        if (earlier.word != Word.None) {
            tally[said] -= 1;
        }
        signals[epoch][msg.sender] = signal;
        emit Signalled(epoch, signal.proposal, msg.sender, signal.word, signal.configHash);
        return ++tally[says] >= quorum(deciding);
    }

    function _endProposal(uint256 epoch) private {
        proposed = false;
        delete committeeHash[epoch];
        emit ProposalEnded(epoch, proposals);
    }

    function _advance(uint256 epoch, bytes32 hash) private {
        configHash[epoch] = hash;
        emit ConfigDecided(epoch, hash);
        emit EpochChanged(currentEpoch, epoch);
        currentEpoch = epoch;
    }

    function _requireOpen(uint256 epoch) private view {
        require(epoch == openEpoch(), "only the epoch after the current one is open");
        require(!proposed, "the epoch is proposed: it does not change until its members decide");
    }

    function _requireProposal(uint256 epoch, uint256 proposal) private view {
        require(epoch == openEpoch(), "only the epoch after the current one is open");
        require(proposed && proposal == proposals, "this is not the proposal that waits");
    }

    function _set(uint256 epoch) private view returns (Set storage) {
        uint256 id = setOf[epoch];
        require(id != 0, "there is no such epoch");
        return setAt[id];
    }

    function _quorum(Set storage set) private view returns (uint256) {
        return (uint256(set.n) + set.k + 1) / 2;
    }

    function _wordHash(uint256 epoch, Signal memory signal) private pure returns (bytes32) {
        return keccak256(abi.encode(epoch, signal.word, uint256(signal.proposal), signal.configHash));
    }

    function _digest(uint256 epoch, address account, Details memory details) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPE, keccak256("Torus NodeList"), keccak256("1"), block.chainid, address(this))
        );
        bytes32 listing = keccak256(
            abi.encode(
                LISTING_TYPE,
                epoch,
                account,
                keccak256(bytes(details.declaredIp)),
                details.pubKx,
                details.pubKy,
                keccak256(bytes(details.tmP2PListenAddress)),
                keccak256(bytes(details.p2pListenAddress))
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, listing));
    }

    /// Who signed, or the zero address, which is nobody's: no identity has it.
    function _signer(bytes32 digest, bytes calldata signature) private pure returns (address) {
        require(signature.length == 65, "a signature has 65 bytes: r, s, v");
        bytes32 r = bytes32(signature[:32]);
        bytes32 s = bytes32(signature[32:64]);
        require(uint256(s) <= MAX_S, "the signature's s is the higher one");
        return ecrecover(digest, uint8(signature[64]), r, s);
    }

    function _identity(uint256 pubKx, uint256 pubKy) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(pubKx, pubKy)))));
    }

    function _isText(string memory text) private pure returns (bool) {
        bytes memory characters = bytes(text);
        if (characters.length == 0 || characters.length > MAX_TEXT) {
            return false;
        }
        for (uint256 i = 0; i < characters.length; ++i) {
            if (characters[i] < 0x21 || characters[i] > 0x7e) {
                return false;
            }
        }
        return true;
    }
}
