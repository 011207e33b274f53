//! The Docker source against a real engine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kentros::{ContainerStats, Demand, DockerSource, StatsSource};

use crate::real_engine::{RealContainer, RealEngine, unique};

#[derive(serde::Deserialize)]
pub(crate) struct Reading {
    pub(crate) container_stats: BTreeMap<String, ContainerStats>,
}

#[test]
#[ignore]
fn fifty() {
    let Some(engine) = RealEngine::find("fifty") else { return };
    let project = unique("fifty");
    let containers: Vec<RealContainer> =
        (0..50).map(|_| engine.start(&project, "sleeper", &["/bin/sleep", "1000"])).collect();
    let mut source = DockerSource::new(engine.host.clone());
    let start = Instant::now();
    for n in 0..12 {
        let due = start + Duration::from_secs(n);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let t = Instant::now();
        let r = source.collect(&Demand::only([project.as_str()]));
        let took = t.elapsed();
        match r {
            Ok(s) => {
                let r: Reading = serde_json::from_str(&s.to_json()).unwrap();
                let ages: Vec<u64> = r.container_stats.values().filter_map(|r| r.age_ms).collect();
                println!(
                    "{n} at {:?} took {took:?} rows {} max age {:?} cpu {:?} {:?}",
                    t - start,
                    r.container_stats.len(),
                    ages.iter().max(),
                    r.container_stats.values().next().and_then(|r| r.cpu_percent),
                    source.engine()
                );
                if n == 11 {
                    println!("{:?}", r.container_stats.values().next());
                }
            }
            Err(e) => println!("{n} took {took:?} {e}"),
        }
    }
    let t = Instant::now();
    source.rest();
    println!("rest {:?} {}", t.elapsed(), containers.len());
}
