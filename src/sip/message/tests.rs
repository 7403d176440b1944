use tokio::io::DuplexStream;

use super::*;

const WRONG: &str = "Digest realm=\"pbx\", nonce=\"n1\"";

fn outgoing<'a>(text: &'a str, login: Option<(&'a str, &'a str)>) -> Outgoing<'a> {
    Outgoing {
        to: "sip:100@pbx.example",
        from: "sip:pbxcert@pbx.example",
        login,
        local: "127.0.0.1:40000".parse().unwrap(),
        tag: "abc",
        text,
    }
}

/// One request as it came, and its body.
async fn received(stream: &mut DuplexStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        bytes.push(stream.read_u8().await.unwrap());
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = field(&head, "Content-Length").parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn field<'h>(head: &'h str, name: &str) -> &'h str {
    let prefix = format!("{name}: ");
    head.lines().find_map(|l| l.strip_prefix(prefix.as_str())).unwrap_or_default()
}

/// Answers one request after the other with these statuses and headers; what was asked.
async fn exchange(
    answers: &[&str],
    message: Outgoing<'_>,
) -> (Result<(), Error>, Vec<(String, String)>) {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
    let server = async {
        let mut asked = Vec::new();
        for answer in answers {
            let request = received(&mut theirs).await;
            let via = field(&request.0, "Via");
            let other = "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKother\r\n\r\n";
            let trying = format!("SIP/2.0 100 Trying\r\nVia: {via}\r\n\r\n");
            let text = format!("{other}{trying}SIP/2.0 {answer}\r\nVia: {via}\r\n\r\n");
            theirs.write_all(text.as_bytes()).await.unwrap();
            asked.push(request);
        }
        asked
    };
    tokio::join!(over_stream(&mut ours, "TCP", message), server)
}

#[tokio::test]
async fn a_message_is_one_request_without_contact() {
    let (sent, asked) = exchange(&["202 Accepted"], outgoing("hällo", None)).await;
    sent.unwrap();
    let (head, body) = &asked[0];
    assert!(head.starts_with("MESSAGE sip:100@pbx.example SIP/2.0\r\n"), "{head}");
    let names: Vec<&str> =
        head.lines().skip(1).filter_map(|l| l.split_once(": ")).map(|(name, _)| name).collect();
    for must in ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Content-Type"] {
        assert_eq!(names.iter().filter(|n| **n == must).count(), 1, "{must}");
    }
    assert!(!names.contains(&"Contact"));
    assert_eq!(field(head, "Via"), "SIP/2.0/TCP 127.0.0.1:40000;rport;branch=z9hG4bKabc1");
    assert_eq!(body, "hällo");
}

#[tokio::test]
async fn both_a_proxy_and_the_server_may_ask_for_a_password_and_for_a_new_nonce() {
    let answers = [
        "407 Proxy\r\nProxy-Authenticate: Digest realm=\"edge\", nonce=\"p\", qop=\"auth\"",
        "401 Who\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\", algorithm=NEW\r\n\
         WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", algorithm=SHA-256\r\n\
         WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n2\", algorithm=MD5",
        "401 Old\r\nWWW-Authenticate: Digest realm=\"pbx\", nonce=\"n3\", stale=true",
        "200 OK",
    ];
    let (sent, asked) = exchange(&answers, outgoing("x", Some(("me", "hunter2")))).await;
    sent.unwrap();
    let last = &asked[3].0;
    assert_eq!(field(last, "CSeq"), "4 MESSAGE");
    assert!(field(last, "Proxy-Authorization").contains("qop=auth, nc=00000001, cnonce="));
    assert!(field(last, "Authorization").contains("nonce=\"n3\""));
    assert!(field(&asked[2].0, "Authorization").contains("algorithm=SHA-256"));
    assert_eq!(last.matches("Authorization: ").count(), 2, "{last}");
    assert!(asked.iter().all(|(head, _)| !head.contains("hunter2")));
    let ids = |name: &str| asked.iter().map(|(h, _)| field(h, name).to_owned()).collect::<Vec<_>>();
    assert!(ids("Call-ID").windows(2).all(|w| w[0] == w[1]));
    assert!(ids("Via").windows(2).all(|w| w[0] != w[1]));
}

#[tokio::test]
async fn what_is_wrong_with_a_password_is_said() {
    let asks = format!("401 Unauthorized\r\nWWW-Authenticate: {WRONG}");
    let login = Some(("me", "hunter2"));
    let (sent, asked) = exchange(&[&asks, &asks], outgoing("x", login)).await;
    let error = sent.unwrap_err();
    assert!(matches!(error, Error::WrongPassword { code: 401, .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"));
    assert_eq!(asked.len(), 2, "a wrong password is not tried again");
    let (sent, _) = exchange(&[&asks], outgoing("x", None)).await;
    assert!(matches!(sent, Err(Error::NoPassword { code: 401 })));
    let (sent, _) = exchange(&["407 x\r\nProxy-Authenticate: NTLM x"], outgoing("x", login)).await;
    assert!(matches!(sent, Err(Error::Challenge { code: 407 })));
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let (sent, _) = exchange(&["480 Not \u{1b}here"], outgoing("x", None)).await;
    let text = sent.unwrap_err().to_string();
    assert_eq!(text, "the server answered 480 Not \u{fffd}here; the telephone is not registered");
}

#[tokio::test]
async fn over_udp_it_is_sent_again_and_never_longer_than_1300_bytes() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.local_addr().unwrap()).await.unwrap();
    let long = "ü".repeat(5 << 20);
    let answer = async {
        let mut buffer = vec![0; 65536];
        let (first, _) = server.recv_from(&mut buffer).await.unwrap();
        let one = buffer[..first].to_vec();
        let (second, from) = server.recv_from(&mut buffer).await.unwrap();
        assert_eq!(one, buffer[..second], "the same bytes again");
        let text = String::from_utf8(one).unwrap();
        server.send_to(b"rubbish", from).await.unwrap();
        let answer = format!("SIP/2.0 200 OK\r\nVia: {}\r\n\r\n", field(&text, "Via"));
        server.send_to(answer.as_bytes(), from).await.unwrap();
        text
    };
    let (sent, text) = tokio::join!(over_udp(&socket, outgoing(&long, None)), answer);
    sent.unwrap();
    assert!((1290..=MOST_OVER_UDP).contains(&text.len()), "{}", text.len());
    assert!(text.ends_with("ü [shortened]"), "{text}");
}

#[test]
fn addresses_that_leave_no_room_are_told() {
    let to = format!("sip:{}@pbx.example", "1".repeat(600));
    let message = Outgoing { to: &to, ..outgoing("x", None) };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = UdpSocket::from_std(socket).unwrap();
        let wire = Datagrams { socket: &socket };
        assert!(matches!(request(&wire, message, 1, "z9hG4bKx", &[]), Err(Error::NoRoom)));
    });
}
