use super::*;

/// One attribute: length, type, value, padding to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(NLA_HEADER_SIZE + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(header: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
    [header.to_vec(), attributes.concat()].concat()
}

fn number(value: u32) -> [u8; 4] {
    value.to_ne_bytes()
}

fn ifinfomsg(index: u32, flags: u32) -> Vec<u8> {
    [[0; 4], number(index), number(flags), [0; 4]].concat()
}

fn ifaddrmsg(family: u8, prefix: u8, flags: u8, scope: u8, index: u32) -> Vec<u8> {
    [[family, prefix, flags, scope], number(index)].concat()
}

fn rtmsg(family: u8, prefix: u8, table: u8, kind: u8, flags: u32) -> Vec<u8> {
    [[family, prefix, 0, 0], [table, 3, 0, kind], number(flags)].concat()
}

const INET: u8 = 2;
const INET6: u8 = 10;
const BRIDGE: u8 = 7;
const UNICAST: u8 = 1;
const BROADCAST: u8 = 3;
const CLONED: u32 = 0x200;

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    parse: fn(&[u8], &mut Vec<T>) -> Result<(), DecodeError>,
    body: &[u8],
    expected: &[T],
) {
    let mut got = Vec::new();
    parse(body, &mut got).unwrap();
    assert_eq!(got, expected);
}

fn a_link() -> Link {
    Link { index: 7, name: "net1".into(), mac: None, mtu: 0, up: false, resolves: true, kind: None }
}

#[test]
fn links() {
    let name = attribute(IFLA_IFNAME, b"net1\0");
    check(link, &message(&ifinfomsg(7, 0), std::slice::from_ref(&name)), &[a_link()]);
    let info = [attribute(9, b"ignored"), attribute(IFLA_INFO_KIND, b"macvlan\0")].concat();
    let full = message(
        &ifinfomsg(7, 0x1003),
        &[
            attribute(0x1234, &[1; 33]),
            name.clone(),
            attribute(IFLA_ADDRESS, &[0x0A, 0x58, 0xC0, 0xA8, 0, 0xFF]),
            attribute(IFLA_MTU, &number(1500)),
            attribute(IFLA_LINKINFO | 0x8000, &info),
        ],
    );
    let mac = Some("0a:58:c0:a8:00:ff".to_owned());
    let kind = Some("macvlan".to_owned());
    check(link, &full, &[Link { mac, mtu: 1500, up: true, kind, ..a_link() }]);
    // A tun link has an empty address attribute or none; a name may hold any byte.
    let tun = message(&ifinfomsg(7, 0), &[attribute(IFLA_ADDRESS, &[]), attribute(IFLA_IFNAME, b"n\xff\0")]);
    check(link, &tun, &[Link { name: "n\u{fffd}".into(), ..a_link() }]);
}

fn an_address(address: &str) -> Address {
    let address = address.parse().unwrap();
    Address { index: 3, address, prefix: 24, scope: Scope::Global, tentative: false, dad_failed: false }
}

#[test]
fn addresses() {
    let near = attribute(IFA_LOCAL, &[10, 0, 0, 1]);
    let far = attribute(IFA_ADDRESS, &[10, 0, 0, 2]);
    let v4 = ifaddrmsg(INET, 24, 0x80, 0, 3);
    check(address, &message(&v4, &[far.clone(), near]), &[an_address("10.0.0.1")]);
    check(address, &message(&v4, &[far]), &[an_address("10.0.0.2")]);
    check(address, &message(&v4, &[]), &[]);
    check(address, &message(&ifaddrmsg(BRIDGE, 0, 0, 0, 3), &[]), &[]);

    let v6 = attribute(IFA_ADDRESS, &"fe80::1".parse::<Ipv6Addr>().unwrap().octets());
    let link_local = Address { prefix: 64, scope: Scope::Link, ..an_address("fe80::1") };
    let header = ifaddrmsg(INET6, 64, 0x40, 253, 3);
    let tentative = Address { tentative: true, ..link_local.clone() };
    check(address, &message(&header, std::slice::from_ref(&v6)), &[tentative]);
    // The long flags replace the byte of the header.
    let failed = Address { dad_failed: true, ..link_local };
    check(address, &message(&header, &[v6, attribute(IFA_FLAGS, &number(0x488))]), &[failed]);
}

#[test]
fn scopes() {
    let cases = [(0, Scope::Global), (200, Scope::Site), (253, Scope::Link), (254, Scope::Host), (7, Scope::Other(7))];
    for (number, scope) in cases {
        assert_eq!(Scope::from(number), scope);
    }
}

fn a_route() -> Route {
    Route { family: Family::V4, destination: None, gateway: None, oif: None, metric: 0, table: 254 }
}

#[test]
fn route_hops_and_tables() {
    let default = rtmsg(INET, 0, 254, UNICAST, 0);
    let oif = attribute(RTA_OIF, &number(4));
    let gateway = attribute(RTA_GATEWAY, &[10, 0, 0, 254]);
    let via_gateway = Some("10.0.0.254".parse().unwrap());
    check(route, &message(&default, std::slice::from_ref(&oif)), &[Route { oif: Some(4), ..a_route() }]);
    let metric = attribute(RTA_PRIORITY, &number(100));
    let table = attribute(RTA_TABLE, &number(1000));
    let full = message(&default, &[table, oif.clone(), gateway, metric]);
    check(route, &full, &[Route { oif: Some(4), gateway: via_gateway, metric: 100, table: 1000, ..a_route() }]);
    // An IPv4 route through an IPv6 neighbour.
    let six: Ipv6Addr = "fe80::9".parse().unwrap();
    let via = attribute(RTA_VIA, &[&[10, 0][..], &six.octets()].concat());
    check(route, &message(&default, &[via]), &[Route { gateway: Some(six.into()), ..a_route() }]);
}

#[test]
fn route_destinations() {
    let destination = attribute(RTA_DST, &[10, 1, 0, 0]);
    let net = Some(("10.1.0.0".parse().unwrap(), 16));
    let header = rtmsg(INET, 16, 254, UNICAST, 0);
    check(route, &message(&header, &[destination]), &[Route { destination: net, ..a_route() }]);
    let half = Some((Ipv6Addr::UNSPECIFIED.into(), 1));
    let header = rtmsg(INET6, 1, 254, UNICAST, 0);
    check(route, &message(&header, &[]), &[Route { family: Family::V6, destination: half, ..a_route() }]);
    // IPv6's default carries ::/0 in full in some kernels.
    let header = rtmsg(INET6, 0, 254, UNICAST, 0);
    check(route, &message(&header, &[attribute(RTA_DST, &[0; 16])]), &[Route { family: Family::V6, ..a_route() }]);
}

#[test]
fn routes_nobody_configured_are_left_out() {
    let oif = attribute(RTA_OIF, &number(4));
    for left_out in
        [rtmsg(INET, 32, 255, BROADCAST, 0), rtmsg(INET6, 128, 254, UNICAST, CLONED), rtmsg(BRIDGE, 0, 254, UNICAST, 0)]
    {
        check(route, &message(&left_out, std::slice::from_ref(&oif)), &[]);
    }
}

#[test]
fn a_route_with_several_next_hops_is_several_routes() {
    let hop = |oif: u32, gateway: &[u8]| {
        let via = attribute(RTA_GATEWAY, gateway);
        let length = u16::try_from(NEXT_HOP_LEN + via.len()).unwrap();
        [length.to_ne_bytes().to_vec(), vec![0; 2], number(oif).to_vec(), via].concat()
    };
    let hops = attribute(RTA_MULTIPATH, &[hop(4, &[10, 0, 0, 1]), hop(5, &[10, 0, 1, 1])].concat());
    let expected = [(4, "10.0.0.1"), (5, "10.0.1.1")].map(|(oif, gateway)| Route {
        oif: Some(oif),
        gateway: Some(gateway.parse().unwrap()),
        ..a_route()
    });
    check(route, &message(&rtmsg(INET, 0, 254, UNICAST, 0), &[hops]), &expected);
}

/// Whatever the bytes are, the answer is values or an error, never a panic.
#[test]
fn hostile_bytes() {
    let mut bodies = vec![
        vec![],
        vec![0xff; 7],
        message(&ifinfomsg(1, 0), &[vec![2, 0, 3, 0]]),
        message(&ifinfomsg(1, 0), &[vec![0xff, 0xff, 3, 0]]),
        message(&ifinfomsg(1, 0), &[attribute(IFLA_MTU, b"x")]),
        message(&rtmsg(INET, 0, 254, UNICAST, 0), &[attribute(RTA_MULTIPATH, &[0; 8])]),
        message(&rtmsg(INET, 0, 254, UNICAST, 0), &[attribute(RTA_VIA, &[1])]),
        message(&ifaddrmsg(INET, 24, 0, 0, 1), &[attribute(IFA_LOCAL, &[1, 2, 3])]),
    ];
    let sound = message(
        &ifinfomsg(1, 1),
        &[attribute(IFLA_IFNAME, b"eth0\0"), attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0"))],
    );
    bodies.extend((0..sound.len()).map(|end| sound[..end].to_vec()));
    for body in bodies {
        let _ = link(&body, &mut Vec::new());
        let _ = address(&body, &mut Vec::new());
        let _ = route(&body, &mut Vec::new());
    }
    assert!(link(&[0xff; 7], &mut Vec::new()).is_err());
    assert!(link(&message(&ifinfomsg(1, 0), &[attribute(IFLA_MTU, b"x")]), &mut Vec::new()).is_err());
}
