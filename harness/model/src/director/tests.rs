//! The director against a tiny scripted world: nodes that take mail at once
//! and deliver it a little later, keep it over a crash, and take over from a
//! node that is lost.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::drive::{DriveError, drive};
use crate::event::{Attempt, Rcpt};
use crate::order::{Unavailable, World, WorldError};
use crate::party::Link;
use crate::scenario;

const MS: u64 = 1_000_000;

fn plan(text: &str) -> Plan {
    let scenario = scenario::parse(
        "test.toml",
        &format!("id = \"test/it\"\ntitle = \"a test\"\n{text}"),
    )
    .unwrap();
    let times = [
        ("poll", 100 * MS),
        ("takeover", 600 * MS),
        ("retry", 200 * MS),
        ("resend", 300 * MS),
        ("patience", 400 * MS),
        ("record", MS),
    ];
    Plan {
        run: "test".to_owned(),
        version: "0".to_owned(),
        engine: "fake".to_owned(),
        seed: 7,
        target: serde_json::from_str(r#"{"name":"fake","capabilities":[],"claims":[]}"#).unwrap(),
        times: times.map(|(k, v)| (k.to_owned(), v)).into_iter().collect(),
        scenario,
        disarmed: Vec::new(),
    }
}

#[derive(Clone, Debug)]
enum Todo {
    Say(Witness, What),
    Ready(Party),
    Deliver(Party, Msg, Vec<Rcpt>),
}

#[derive(Default)]
struct Fake {
    now: At,
    todo: BTreeMap<(At, u64), Todo>,
    seq: u64,
    said: VecDeque<Event>,
    ids: u64,
    /// Life and queue of every node; up or not.
    nodes: BTreeMap<Party, (u32, bool)>,
    queues: BTreeMap<Party, Vec<(Msg, Vec<Rcpt>)>>,
    armed: Vec<(Fault, Point)>,
    standing: Option<(Fault, Link, Todo)>,
    /// Nodes that never come up.
    broken: Vec<Party>,
    /// Whether nodes refuse everything for now with this code.
    refuse: u16,
    /// So many attempts are put off before mail is taken.
    put_off: usize,
    /// Whether nodes take mail and keep it for ever.
    swallow: bool,
    /// Whether nodes take mail and then report that it failed.
    bounce: bool,
    lacks: Option<&'static str>,
    submitted: Vec<(Msg, Attempt, Party)>,
    orders: Vec<String>,
}

impl Fake {
    fn say(&mut self, by: Witness, ev: What) {
        assert!(ev.admissible(by), "{by} says {ev:?}");
        let (id, at) = (self.ids, self.now);
        self.ids += 1;
        self.said.push_back(Event { id, at, by, ev });
    }

    fn later(&mut self, after: u64, todo: Todo) {
        self.seq += 1;
        self.todo.insert((self.now + after, self.seq), todo);
    }

    fn up(&self, node: Party) -> bool {
        self.nodes.get(&node).is_some_and(|n| n.1)
    }

    fn kill(&mut self, node: Party, status: &str) {
        if !self.up(node) {
            return;
        }
        let life = self.nodes[&node].0;
        self.nodes.insert(node, (life, false));
        let status = status.to_owned();
        self.say(Witness::Kernel, What::Exit { node, life, status });
    }

    fn deliver(&mut self, node: Party, msg: Msg, rcpts: Vec<Rcpt>) {
        if !self.up(node) {
            self.queues.entry(node).or_default().push((msg, rcpts));
            return;
        }
        if self.swallow {
            return;
        }
        if self.bounce {
            self.say(
                Witness::Mailbox,
                What::Dsn {
                    conn: 1,
                    from: node,
                    msg,
                    action: "failed".to_owned(),
                    rcpts,
                },
            );
            return;
        }
        self.say(
            Witness::Mailbox,
            What::Taken {
                conn: 1,
                from: node,
                msg,
                attempt: 1,
                rcpts,
                strangers: Vec::new(),
                digest: String::new(),
            },
        );
    }

    fn submit(&mut self, msg: Msg, attempt: Attempt, rcpts: &[Rcpt], node: Party, session: u16) {
        self.submitted.push((msg, attempt, node));
        self.say(
            Witness::Client,
            What::Attempt {
                msg,
                attempt,
                session,
                node,
                rcpts: rcpts.to_vec(),
                silent: false,
            },
        );
        let up = self.up(node);
        let (codes, end) = match (up, self.refuse) {
            (false, _) => (vec![0; rcpts.len()], vec![]),
            (true, 0) if self.submitted.len() <= self.put_off => (vec![451; rcpts.len()], vec![]),
            (true, 0) => (vec![250; rcpts.len()], vec![250]),
            (true, code) => (vec![code; rcpts.len()], vec![]),
        };
        let took = !end.is_empty();
        let outcome = Todo::Say(
            Witness::Client,
            What::Outcome {
                msg,
                attempt,
                rcpts: codes,
                end,
                note: None,
            },
        );
        let link = Link::new(Party::Client, node);
        if took {
            self.later(20 * MS, Todo::Deliver(node, msg, rcpts.to_vec()));
            let at = self
                .armed
                .iter()
                .position(|(_, p)| p.link == link && p.nth <= 1);
            for (_, point) in &mut self.armed {
                point.nth -= u32::from(point.link == link);
            }
            if let Some(at) = at {
                let (fault, point) = self.armed.remove(at);
                self.say(
                    Witness::Link(link),
                    What::Held {
                        conn: 1,
                        fault,
                        phase: point.phase,
                    },
                );
                self.standing = Some((fault, link, outcome));
                return;
            }
        }
        self.later(10 * MS, outcome);
    }
}

impl World for Fake {
    fn offers(&self, order: &Order) -> Result<(), Unavailable> {
        match self.lacks {
            Some(what) if format!("{order:?}").contains(what) => Err(Unavailable {
                what: what.to_owned(),
                why: "not in this world".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn now(&self) -> At {
        self.now
    }

    fn order(&mut self, order: Order) -> Result<(), WorldError> {
        self.orders.push(format!("{order:?}"));
        match order {
            Order::Start { node, store } => {
                let life = self.nodes.get(&node).map_or(1, |n| n.0 + 1);
                self.nodes.insert(node, (life, false));
                if store == StoreState::Empty {
                    self.queues.remove(&node);
                }
                self.say(Witness::Kernel, What::Start { node, life, store });
                if !self.broken.contains(&node) {
                    self.later(50 * MS, Todo::Ready(node));
                }
            }
            Order::Submit {
                session,
                msg,
                attempt,
                rcpts,
                node,
            } => self.submit(msg, attempt, &rcpts, node, session),
            Order::Break {
                fault,
                act,
                disarmed,
            } => {
                self.say(
                    Witness::Injector,
                    What::Fault {
                        fault,
                        stage: Stage::Fired,
                        text: format!("{act:?}"),
                        node: None,
                        link: None,
                        conn: None,
                    },
                );
                match act {
                    _ if disarmed => {}
                    Act::Crash(node) | Act::PowerCut(node) => self.kill(node, "signal 9"),
                    Act::Restart(node) => self.kill(node, "code 0"),
                    Act::NodeLost { node, wipe } => {
                        self.kill(node, "signal 9");
                        if wipe {
                            self.say(Witness::Disk(node), What::StoreGone { node });
                        }
                        // Whatever it held is taken over.
                        let other = *self.nodes.iter().find(|n| n.1.1).unwrap().0;
                        for (msg, rcpts) in self.queues.remove(&node).unwrap_or_default() {
                            self.later(600 * MS, Todo::Deliver(other, msg, rcpts));
                        }
                        for todo in self.todo.values_mut() {
                            if let Todo::Deliver(by, ..) = todo
                                && *by == node
                            {
                                *by = other;
                            }
                        }
                    }
                    Act::Pause(node) => {
                        self.nodes.get_mut(&node).unwrap().1 = false;
                        let life = self.nodes[&node].0;
                        self.say(Witness::Kernel, What::Paused { node, life });
                    }
                    Act::Link(..) | Act::Clock { .. } | Act::Disk(..) | Act::Corrupt(..) => {}
                }
            }
            Order::Mend {
                act: Act::Pause(node),
                ..
            } => {
                self.nodes.get_mut(&node).unwrap().1 = true;
                let life = self.nodes[&node].0;
                self.say(Witness::Kernel, What::Resumed { node, life });
                for (msg, rcpts) in self.queues.remove(&node).unwrap_or_default() {
                    self.later(20 * MS, Todo::Deliver(node, msg, rcpts));
                }
            }
            Order::Arm { fault, point, .. } => self.armed.push((fault, point)),
            Order::Release { fault } => {
                if let Some((of, link, todo)) = self.standing.take() {
                    assert_eq!(of, fault);
                    self.say(Witness::Link(link), What::Released { conn: 1, fault });
                    self.later(MS, todo);
                }
            }
            Order::List { node } => {
                let rows = Vec::new();
                self.say(
                    Witness::Node(node),
                    What::Queues {
                        node,
                        rows,
                        others: 0,
                    },
                );
            }
            Order::Read { node } => self.say(
                Witness::Disk(node),
                What::StoreRead {
                    node,
                    rows: Vec::new(),
                    stored: Vec::new(),
                    damage: None,
                },
            ),
            Order::Stop { node } => self.kill(node, "code 0"),
            Order::Record(what) => {
                let by = what.recorder();
                self.say(by, what);
            }
            Order::Await { fault, event } => {
                let happening = What::Happening {
                    fault,
                    number: event,
                };
                self.later(event * MS, Todo::Say(Witness::Kernel, happening));
            }
            Order::ArmDisk { .. } | Order::Mend { .. } | Order::Hangup { .. } => {}
        }
        Ok(())
    }

    fn next(&mut self, until: At) -> Result<Option<Event>, WorldError> {
        loop {
            if let Some(event) = self.said.pop_front() {
                return Ok(Some(event));
            }
            match self.todo.first_key_value().map(|((at, _), _)| *at) {
                Some(at) if at <= until => {
                    let (_, todo) = self.todo.pop_first().unwrap();
                    self.now = self.now.max(at);
                    match todo {
                        Todo::Say(by, what) => self.say(by, what),
                        Todo::Ready(node) => {
                            let life = self.nodes[&node].0;
                            self.nodes.insert(node, (life, true));
                            self.say(Witness::Kernel, What::Ready { node, life });
                            for (msg, rcpts) in self.queues.remove(&node).unwrap_or_default() {
                                self.later(20 * MS, Todo::Deliver(node, msg, rcpts));
                            }
                        }
                        Todo::Deliver(node, msg, rcpts) => self.deliver(node, msg, rcpts),
                    }
                }
                _ => {
                    assert!(until < At::MAX, "the director waits for nothing");
                    self.now = self.now.max(until);
                    return Ok(None);
                }
            }
        }
    }

    fn finish(&mut self) -> Result<(), WorldError> {
        Ok(())
    }
}

fn run(plan: Plan, world: &mut Fake) -> Vec<Event> {
    let mut events = Vec::new();
    let mut director = Director::new(plan).unwrap();
    drive(world, &mut director, &mut |e| events.push(e.clone())).unwrap();
    assert!(director.done());
    events
}

fn end(events: &[Event]) -> &str {
    match &events.last().unwrap().ev {
        What::End { why } => why,
        other => panic!("{other:?}"),
    }
}

fn count(events: &[Event], what: impl Fn(&What) -> bool) -> usize {
    events.iter().filter(|e| what(&e.ev)).count()
}

fn taken(events: &[Event]) -> usize {
    count(events, |w| matches!(w, What::Taken { .. }))
}

#[test]
fn a_plain_run_sends_everything_and_ends_quietly() {
    let mut world = Fake::default();
    let plan = plan("workload = { messages = 20, recipients = \"1..5\", sessions = 3 }");
    let events = run(plan.clone(), &mut world);
    assert_eq!(end(&events), "finished");
    assert_eq!(taken(&events), 20);
    // Round robin by session, every message once.
    let mut msgs: Vec<Msg> = world.submitted.iter().map(|s| s.0).collect();
    msgs.sort_unstable();
    assert_eq!(msgs, (0..20).collect::<Vec<_>>());
    for n in 1..=3 {
        assert!(world.submitted.iter().any(|s| s.2 == Party::Node(n)));
    }
    // Silence, listings, stops, reads, in this order.
    let at = |f: &dyn Fn(&What) -> bool| events.iter().position(|e| f(&e.ev)).unwrap();
    let quiet = at(&|w| matches!(w, What::Quiet { lasted, .. } if *lasted >= 900 * MS));
    let listed = at(&|w| matches!(w, What::Queues { .. }));
    let exit = at(&|w| matches!(w, What::Exit { .. }));
    let read = at(&|w| matches!(w, What::StoreRead { .. }));
    assert!(quiet < listed && listed < exit && exit < read);
    assert_eq!(count(&events, |w| matches!(w, What::StoreRead { .. })), 3);
}

#[test]
fn a_crashed_node_comes_back_and_its_start_is_measured() {
    let events = run(
        plan(
            "workload = { messages = 30 }\n\
             [[step]]\ncrash = { node = \"busiest\", at = \"30% accepted\", after = \"200 ms\" }\n\
             [[step]]\nwait = { until = \"back\", max = \"10 s\" }",
        ),
        &mut Fake::default(),
    );
    assert_eq!(end(&events), "finished");
    assert!(taken(&events) >= 30);
    assert!(events.iter().any(|e| matches!(
        &e.ev, What::Measured { name, took } if name == "restart" && *took == 50 * MS
    )));
    let fired = events
        .iter()
        .find(|e| {
            matches!(
                e.ev,
                What::Fault {
                    stage: Stage::Fired,
                    ..
                }
            )
        })
        .unwrap();
    let again = events
        .iter()
        .find(|e| matches!(e.ev, What::Start { life: 2, .. }))
        .unwrap();
    assert_eq!(again.at - fired.at, 200 * MS);
    assert!(matches!(
        again.ev,
        What::Start {
            store: StoreState::Same,
            ..
        }
    ));
    assert!(events.iter().any(|e| matches!(e.ev, What::Choice { .. })));
    assert!(events.iter().any(|e| matches!(
        &e.ev, What::Waited { until, came: true, .. } if until == "back"
    )));
}

#[test]
fn a_fault_at_an_event_comes_when_the_world_says_so() {
    let mut world = Fake::default();
    let step = "[[step]]\ncrash = { node = \"n2\", at = { event = 40 } }";
    let events = run(
        plan(&format!("workload = {{ messages = 30 }}\n{step}")),
        &mut world,
    );
    assert_eq!(end(&events), "finished");
    let at = |f: &dyn Fn(&What) -> bool| events.iter().position(|e| f(&e.ev)).unwrap();
    let came = at(&|w| {
        *w == What::Happening {
            fault: 0,
            number: 40,
        }
    });
    let fired = at(&|w| {
        matches!(
            w,
            What::Fault {
                stage: Stage::Fired,
                ..
            }
        )
    });
    assert!(came < fired);
    assert_eq!(events[came].at, events[fired].at);
    assert_eq!(taken(&events), 30);
}

#[test]
fn an_event_that_never_comes_is_not_waited_for_to_the_end() {
    let mut world = Fake::default();
    let step = "[[step]]\ncrash = { node = \"n2\", at = { event = 1000000 } }";
    let events = run(
        plan(&format!("workload = {{ messages = 30 }}\n{step}")),
        &mut world,
    );
    assert_eq!(
        end(&events),
        "step 0 never came: crash n2 at happening 1000000, back with its store"
    );
    assert!(world.orders.iter().any(|o| o == "Release { fault: 0 }"));
}

#[test]
fn a_lost_node_is_wiped_and_a_takeover_is_seen() {
    let events = run(
        plan(
            "workload = { messages = 30 }\n\
             [[step]]\nnode-lost = { node = \"n2\", at = \"30% accepted\", back = \"never\" }\n\
             [[step]]\nwait = { until = \"takeover\", max = \"takeover + 2 polls\" }",
        ),
        &mut Fake::default(),
    );
    assert_eq!(end(&events), "finished");
    let n2 = Party::Node(2);
    assert!(events.iter().any(|e| e.ev == What::StoreGone { node: n2 }));
    assert!(events.iter().any(|e| matches!(
        &e.ev, What::Waited { until, came: true, .. } if until == "takeover"
    )));
    assert!(!events.iter().any(|e| matches!(
        e.ev, What::StoreRead { node, .. } if node == n2
    )));
    assert_eq!(count(&events, |w| matches!(w, What::StoreRead { .. })), 2);
}

#[test]
fn a_held_link_goes_on_once_the_node_is_gone() {
    let mut world = Fake::default();
    let events = run(
        plan(
            "workload = { messages = 12 }\n\
             [[step]]\ncrash = { node = \"held\", at = { link = \"client->n2\", phase = \"end-reply\", nth = 2 } }",
        ),
        &mut world,
    );
    assert_eq!(end(&events), "finished");
    let at = |f: &dyn Fn(&What) -> bool| events.iter().position(|e| f(&e.ev)).unwrap();
    let held = at(&|w| matches!(w, What::Held { .. }));
    let exit = at(&|w| matches!(w, What::Exit { .. }));
    let released = at(&|w| matches!(w, What::Released { .. }));
    assert!(held < exit && exit < released);
    assert!(matches!(
        events[exit].ev,
        What::Exit {
            node: Party::Node(2),
            ..
        }
    ));
    assert_eq!(events[released].at, events[exit].at);
}

#[test]
fn a_disarmed_fault_breaks_nothing_and_ends() {
    let mut p = plan(
        "workload = { messages = 12 }\n\
         [[step]]\ncrash = { node = \"n1\", at = \"start\" }",
    );
    p.disarmed = vec![0];
    let events = run(p, &mut Fake::default());
    assert_eq!(end(&events), "finished");
    assert_eq!(count(&events, |w| matches!(w, What::Start { .. })), 3);
}

#[test]
fn the_sender_tries_again_until_the_deadline() {
    let mut world = Fake {
        refuse: 451,
        ..Fake::default()
    };
    let events = run(
        plan("workload = { messages = 3 }\nexpect = { deadline = \"2 s\" }"),
        &mut world,
    );
    assert_eq!(end(&events), "deadline");
    assert_eq!(count(&events, |w| matches!(w, What::GaveUp { .. })), 3);
    let tries: Vec<_> = world.submitted.iter().filter(|s| s.0 == 0).collect();
    assert!((6..=7).contains(&tries.len()), "{}", tries.len());
    assert_eq!(tries.last().unwrap().1 as usize, tries.len());
    // A refusal for now does not move the sender to another node.
    assert!(tries.iter().all(|t| t.2 == tries[0].2));
}

#[test]
fn mail_that_was_taken_late_has_all_its_time() {
    let mut world = Fake {
        put_off: 4,
        swallow: true,
        ..Fake::default()
    };
    let events = run(
        plan("workload = { messages = 1 }\nexpect = { deadline = \"2 s\" }"),
        &mut world,
    );
    assert_eq!(end(&events), "deadline");
    let accepted = events
        .iter()
        .find(|e| matches!(&e.ev, What::Outcome { end, .. } if *end == [250]))
        .unwrap();
    let silent = events
        .iter()
        .find(|e| matches!(e.ev, What::Quiet { .. }))
        .unwrap();
    assert!(silent.at - accepted.at >= 2000 * MS);
}

#[test]
fn a_refusal_for_good_settles_and_once_means_once() {
    let mut world = Fake {
        refuse: 550,
        ..Fake::default()
    };
    let events = run(plan("workload = { messages = 5 }"), &mut world);
    assert_eq!(end(&events), "finished");
    assert_eq!(world.submitted.len(), 5);
    assert_eq!(count(&events, |w| matches!(w, What::GaveUp { .. })), 0);

    let mut world = Fake {
        refuse: 451,
        ..Fake::default()
    };
    let events = run(
        plan("workload = { messages = 5, sender = \"once\" }"),
        &mut world,
    );
    assert_eq!(end(&events), "finished");
    assert_eq!(world.submitted.len(), 5);
    assert_eq!(count(&events, |w| matches!(w, What::GaveUp { .. })), 5);
}

#[test]
fn mail_that_is_reported_as_failed_is_not_waited_for() {
    let mut world = Fake {
        bounce: true,
        ..Fake::default()
    };
    let events = run(plan("workload = { messages = 5 }"), &mut world);
    assert_eq!(end(&events), "finished");
    assert_eq!(taken(&events), 0);
}

#[test]
fn a_node_that_does_not_answer_is_passed_over() {
    let mut world = Fake::default();
    let events = run(
        plan(
            "workload = { messages = 9, sessions = 1 }\n\
             [[step]]\ncrash = { node = \"n1\", at = \"start\", back = \"never\" }",
        ),
        &mut world,
    );
    assert_eq!(end(&events), "finished");
    let to_n1 = world.submitted.iter().filter(|s| s.2 == Party::Node(1));
    assert_eq!(to_n1.count(), 1);
    assert_eq!(taken(&events), 9);
    // A dead node whose disk remains is read.
    assert_eq!(count(&events, |w| matches!(w, What::StoreRead { .. })), 3);
}

#[test]
fn what_never_comes_ends_the_run() {
    let mut world = Fake::default();
    let events = run(
        plan(
            "workload = { messages = 3 }\n\
             [[step]]\nlink = { at = { link = \"n1->mb\", phase = \"dot\", nth = 9 }, act = \"reset\" }",
        ),
        &mut world,
    );
    assert!(
        end(&events).starts_with("step 0 never came"),
        "{}",
        end(&events)
    );
    assert_eq!(taken(&events), 3);

    let mut world = Fake {
        broken: vec![Party::Node(2)],
        ..Fake::default()
    };
    let events = run(plan("workload = { messages = 3 }"), &mut world);
    assert!(end(&events).starts_with("n2 never became ready"));
    assert!(world.submitted.is_empty());
}

#[test]
fn a_paused_node_goes_on_again() {
    let events = run(
        plan(
            "workload = { messages = 30 }\n\
             [[step]]\npause = { node = \"n1\", at = \"20% accepted\", for = \"500 ms\" }",
        ),
        &mut Fake::default(),
    );
    assert_eq!(end(&events), "finished");
    let at = |f: &dyn Fn(&What) -> bool| events.iter().find(|e| f(&e.ev)).unwrap().at;
    let paused = at(&|w| matches!(w, What::Paused { .. }));
    let resumed = at(&|w| matches!(w, What::Resumed { .. }));
    assert_eq!(resumed - paused, 500 * MS);
}

#[test]
fn what_a_world_lacks_is_said_before_anything_starts() {
    let mut world = Fake {
        lacks: Some("PowerCut"),
        ..Fake::default()
    };
    let mut director = Director::new(plan(
        "workload = { messages = 3 }\n\
         [[step]]\npower-cut = { node = \"any\", at = \"50% accepted\" }",
    ))
    .unwrap();
    let error = drive(&mut world, &mut director, &mut |_| {}).unwrap_err();
    assert!(matches!(error, DriveError::Unavailable(u) if u.what == "PowerCut"));
    assert!(world.orders.is_empty());
}

#[test]
fn every_order_of_a_run_was_previewed() {
    let kinds = |orders: &[String]| {
        let mut kinds: Vec<String> = orders
            .iter()
            .map(|o| o.split([' ', '(']).next().unwrap().to_owned())
            .filter(|k| !["Record", "Submit", "Hangup"].contains(&k.as_str()))
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    let p = plan(
        "workload = { messages = 12 }\n\
         [[step]]\ncrash = { node = \"held\", at = { link = \"client->n2\", phase = \"dot\" } }\n\
         [[step]]\npause = { node = \"n1\", at = \"start\", for = \"1 s\" }",
    );
    let preview: Vec<String> = Director::new(p.clone())
        .unwrap()
        .preview()
        .iter()
        .map(|o| format!("{o:?}"))
        .collect();
    let mut world = Fake::default();
    run(p, &mut world);
    assert_eq!(kinds(&preview), kinds(&world.orders));
}

#[test]
fn the_same_plan_gives_the_same_run() {
    let p = plan(
        "workload = { messages = 40, recipients = \"1..4\" }\n\
         [[step]]\ncrash = { node = \"any\", at = \"30% accepted\" }",
    );
    let once = run(p.clone(), &mut Fake::default());
    let twice = run(p, &mut Fake::default());
    assert_eq!(once, twice);
}

#[test]
fn a_step_that_cannot_come_is_passed_over_where_any_fault_will_do() {
    let steps = "[[step]]
crash = { node = \"held\", at = { link = \"n1->mb\", phase = \"dot\", nth = 5000 } }
[[step]]
crash = { node = \"n2\", at = \"10% accepted\" }
";
    let text = |faults: &str| {
        format!("workload = {{ messages = 30 }}\nexpect = {{ faults = \"{faults}\" }}\n{steps}")
    };
    let mut world = Fake::default();
    let events = run(plan(&text("any")), &mut world);
    assert_eq!(end(&events), "finished");
    let exits = |events: &[Event]| {
        count(
            events,
            |w| matches!(w, What::Exit { node: Party::Node(2), status, .. } if status.starts_with("signal")),
        )
    };
    assert_eq!(exits(&events), 1);
    // What was armed is taken back, before the next step begins.
    let release = world
        .orders
        .iter()
        .position(|o| o.starts_with("Release { fault: 0"));
    let broken = world
        .orders
        .iter()
        .position(|o| o.starts_with("Break { fault: 1"));
    assert!(release.is_some() && release < broken, "{:?}", world.orders);

    let mut world = Fake::default();
    let events = run(plan(&text("all")), &mut world);
    assert!(
        end(&events).starts_with("step 0 never came"),
        "{}",
        end(&events)
    );
    assert_eq!(exits(&events), 0);
}

#[test]
fn a_pace_keeps_the_messages_of_a_session_apart() {
    let mut world = Fake::default();
    let events = run(
        plan("workload = { messages = 12, sessions = 3, pace = \"200 ms\" }"),
        &mut world,
    );
    assert_eq!(end(&events), "finished");
    assert_eq!(taken(&events), 12);
    let mut begun: BTreeMap<u16, Vec<At>> = BTreeMap::new();
    for event in &events {
        if let What::Attempt { session, .. } = event.ev {
            begun.entry(session).or_default().push(event.at);
        }
    }
    assert_eq!(begun.len(), 3);
    for times in begun.values() {
        assert_eq!(times.len(), 4);
        assert!(
            times.windows(2).all(|pair| pair[1] - pair[0] >= 200 * MS),
            "{times:?}"
        );
    }
    // Each session is connected until all is sent, and closed then.
    let hangups = world.orders.iter().filter(|o| o.starts_with("Hangup"));
    assert_eq!(hangups.count(), 3);
}
