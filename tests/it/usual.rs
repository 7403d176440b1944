//! The places where services of a kind usually are: looked at without being written, and not taken
//! for all there is.

use pbxcert::config::kind::Class;
use pbxcert::state::{ServiceState, Step};

use crate::lab::{Lab, Manner};

/// A service at whose usual place nobody listens.
async fn elsewhere(class: Class) -> Lab {
    let mut lab = Lab::new().await.with_closed_port();
    lab.config.services[0].endpoints[0].usual = true;
    lab.config.services[0].class = class;
    lab
}

#[tokio::test]
async fn a_service_that_is_not_at_its_usual_place_is_not_taken_for_stopped() {
    for class in [Class::Hot, Class::Drain] {
        let lab = elsewhere(class).await;
        lab.pass().await;
        assert_eq!(lab.service.reloads.get(), 1, "{class:?}: it may be elsewhere");
        assert_eq!(lab.state().pairs["pbx"].step, Step::Unproved);
    }
}

#[tokio::test]
async fn calls_that_nobody_has_looked_for_are_not_ended() {
    let lab = elsewhere(Class::Restart).await;
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 0);
}

#[tokio::test]
async fn where_somebody_said_that_it_is_there_a_closed_port_means_stopped() {
    let mut lab = elsewhere(Class::Hot).await;
    lab.config.services[0].endpoints[0].usual = false;
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 0);
    assert_eq!(lab.state().pairs["pbx"].step, Step::Unproved);
}

#[tokio::test]
async fn a_usual_place_that_nobody_ever_answered_at_does_not_count_and_one_that_went_silent_does() {
    let mut lab = Lab::new().await;
    let mut second = lab.config.services[0].endpoints[0].clone();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    second.port = closed.local_addr().unwrap().port();
    drop(closed);
    second.usual = true;
    let second_name = second.to_string();
    lab.config.services[0].endpoints.push(second);
    lab.pass().await;
    assert_eq!(lab.state().pairs["pbx"].step, Step::Proved);

    let spec = &lab.config.services[0];
    let counted = |state: &ServiceState| {
        let used = state.in_use(spec);
        used.into_iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut state = lab.state();
    assert!(state.seen.contains_key(&second_name), "it is looked at all the same");
    assert_eq!(counted(&state), [spec.endpoints[0].to_string()]);

    let (closed, alive) =
        (state.seen[&second_name].clone(), state.seen[&spec.endpoints[0].to_string()].clone());
    state.note([(second_name.clone(), alive)].into());
    state.note([(second_name.clone(), closed.clone())].into());
    assert_eq!(counted(&state).len(), 2, "it answered once");

    let mut down = ServiceState::default();
    down.note(spec.endpoints.iter().map(|e| (e.to_string(), closed.clone())).collect());
    assert_eq!(counted(&down), [spec.endpoints[0].to_string()], "that one was written");
}

#[tokio::test]
async fn what_is_served_already_is_not_reloaded_for_a_usual_place_that_is_closed() {
    let mut lab = Lab::new().await;
    let mut second = lab.config.services[0].endpoints[0].clone();
    second.usual = true;
    second.port = 1;
    lab.config.services[0].endpoints.push(second);
    lab.service.manner.set(Manner::KeepsOld);
    let pass = lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 1, "{pass:?}");
    // Restarted by somebody: it has its files.
    lab.service.take();
    lab.pass().await;
    let mut state = lab.state();
    state.pairs.get_mut("pbx").unwrap().forced = true;
    let writer = lab.store.service("sip").unwrap().try_lock(lab.world.now()).unwrap().unwrap();
    writer.remember(&state).unwrap();
    drop(writer);
    lab.pass().await;
    assert_eq!(lab.service.reloads.get(), 1, "never a reload where nothing would change");
}
