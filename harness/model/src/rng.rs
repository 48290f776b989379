//! The harness's one source of chance: small, seeded, and keyed by what a
//! draw is for, so that no draw depends on how many were made before it.

/// splitmix64. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The source for one purpose: the same `seed`, `purpose` and `index`
    /// give the same draws, whatever else is drawn.
    #[must_use]
    pub fn keyed(seed: u64, purpose: &str, index: u64) -> Self {
        // FNV-1a over the purpose; the finalizer of splitmix64 mixes the rest.
        let mut key = 0xcbf2_9ce4_8422_2325_u64;
        for byte in purpose.bytes() {
            key = (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(mix(mix(seed ^ key).wrapping_add(index)))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`, without bias; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Lemire's multiplication, with rejection of the short first part.
        let short = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.bits()) * u128::from(n);
            // The low half decides whether the draw is fair.
            if wide as u64 >= short {
                return (wide >> 64) as u64;
            }
        }
    }

    /// A number from `least` to `most`, both included; `least` when the range
    /// is empty.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        match most.saturating_sub(least).checked_add(1) {
            Some(n) => least + self.below(n),
            None => self.bits(),
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_its_key_alone() {
        let draw = |seed, purpose, index| Rng::keyed(seed, purpose, index).bits();
        assert_eq!(draw(7, "size", 3), draw(7, "size", 3));
        let all = [
            draw(7, "size", 3),
            draw(8, "size", 3),
            draw(7, "rcpts", 3),
            draw(7, "size", 4),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn ranges_are_kept_and_filled() {
        let mut rng = Rng::keyed(1, "test", 0);
        let mut seen = [0_u32; 3];
        for _ in 0..3_000 {
            seen[usize::try_from(rng.between(4, 6) - 4).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (800..1_200).contains(n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.between(5, 5), 5);
        assert_eq!(rng.between(5, 4), 5);
        let _ = rng.between(0, u64::MAX);
    }
}
