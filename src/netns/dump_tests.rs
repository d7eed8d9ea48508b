use super::*;

const ANSWER: u16 = 16;
const SEQUENCE: u32 = 5;

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(NETLINK_HEADER_LEN + body.len()).unwrap();
    let mut bytes =
        [length.to_ne_bytes(), [kind.to_ne_bytes(), flags.to_ne_bytes()].concat().try_into().unwrap()].concat();
    bytes.extend_from_slice(&[sequence.to_ne_bytes(), [0; 4]].concat());
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn answer(body: &[u8]) -> Vec<u8> {
    message(ANSWER, 2, SEQUENCE, body)
}

fn done(code: i32) -> Vec<u8> {
    message(NLMSG_DONE, 2, SEQUENCE, &code.to_ne_bytes())
}

fn error(code: i32) -> Vec<u8> {
    message(NLMSG_ERROR, 0, SEQUENCE, &[code.to_ne_bytes().to_vec(), vec![0; 16]].concat())
}

/// What a datagram gave: the bodies taken, and the state or the fault as text.
fn read(messages: &[Vec<u8>]) -> (Vec<Vec<u8>>, String) {
    let mut bodies = Vec::new();
    let mut take = |body: &[u8]| {
        bodies.push(body.to_vec());
        Ok(())
    };
    let judged = match part(&messages.concat(), ANSWER, SEQUENCE, &mut take) {
        Ok(part) => format!("last={} interrupted={}", part.last, part.interrupted),
        Err(Fault::Io(error)) => format!("io {}", error.raw_os_error().unwrap()),
        Err(Fault::Malformed(_)) => "malformed".to_owned(),
        Err(other) => format!("{other:?}"),
    };
    (bodies, judged)
}

#[track_caller]
fn check(messages: &[Vec<u8>], bodies: &[&[u8]], judged: &str) {
    let (got, how) = read(messages);
    assert_eq!((got, how.as_str()), (bodies.iter().map(|body| body.to_vec()).collect(), judged));
}

#[test]
fn datagrams() {
    check(&[], &[], "last=false interrupted=false");
    check(&[answer(b"one"), answer(b"four")], &[b"one", b"four"], "last=false interrupted=false");
    check(&[answer(b"one"), done(0)], &[b"one"], "last=true interrupted=false");
    check(&[message(NLMSG_DONE, 2, SEQUENCE, &[])], &[], "last=true interrupted=false");
    check(&[error(0)], &[], "last=true interrupted=false");
    check(&[error(-1)], &[], "io 1");
    check(&[error(-nix::libc::ENOBUFS)], &[], "Overrun");
    check(&[done(-nix::libc::ENODEV)], &[], "io 19");
    check(&[message(NLMSG_OVERRUN, 0, SEQUENCE, &[])], &[], "Overrun");
    // What was left of an earlier question, and kinds of message nobody asked for, are stepped over.
    check(&[message(ANSWER, 2, 4, b"old"), answer(b"new")], &[b"new"], "last=false interrupted=false");
    check(&[message(NLMSG_DONE, 2, 4, &[0; 4])], &[], "last=false interrupted=false");
    check(&[message(1, 0, SEQUENCE, &[]), message(77, 0, SEQUENCE, b"?")], &[], "last=false interrupted=false");
    // The mark counts wherever it stands, also on the end.
    let marked = message(ANSWER, 2 | NLM_F_DUMP_INTR, SEQUENCE, b"x");
    check(&[marked, answer(b"y"), done(0)], &[b"x", b"y"], "last=true interrupted=true");
    let end = message(NLMSG_DONE, 2 | NLM_F_DUMP_INTR, SEQUENCE, &[0; 4]);
    check(&[end], &[], "last=true interrupted=true");
}

#[test]
fn hostile_datagrams() {
    for bytes in [vec![1], vec![0; 16], vec![0xff; 40], answer(b"cut short")[..20].to_vec()] {
        check(&[bytes], &[], "malformed");
    }
    let whole = [answer(b"one"), done(0)].concat();
    for end in 0..whole.len() {
        let _ = read(&[whole[..end].to_vec()]);
    }
    check(&[message(NLMSG_ERROR, 0, SEQUENCE, &[1])], &[], "malformed");
}

#[test]
fn a_request_is_one_message() {
    let bytes = encode(&Request { kind: 18, flags: NLM_F_DUMP, answer: ANSWER, body: &[7; 16] }, SEQUENCE);
    let message = NetlinkBuffer::new_checked(&bytes).unwrap();
    assert_eq!((message.length(), message.message_type(), message.flags()), (32, 18, NLM_F_REQUEST | NLM_F_DUMP));
    assert_eq!((message.sequence_number(), message.payload()), (SEQUENCE, &[7_u8; 16][..]));
}
