//! English.

use super::Lists;

pub(super) const LISTS: Lists = Lists {
    weights: &[
        (
            3,
            "amazing awesome brilliant excellent exceptional extraordinary fabulous fantastic incredible love loved marvelous marvellous \
             outstanding perfect perfectly phenomenal splendid superb terrific thrilled wonderful wonderfully delighted overjoyed flawless \
             magnificent stellar",
        ),
        (
            2,
            "appreciate appreciated beautiful best bless cheerful congratulations delicious delight delightful ecstatic effortless enjoy enjoyed \
             enjoying excited exciting fast_service generous glad gladly good grateful gratitude great happy happily happiness helpful impressed \
             impressive joy kind kindness lovely lucky nice nicely pleasant pleased pleasure polite proud recommend recommended reliable relieved \
             satisfied satisfying satisfaction smooth smoothly solved spotless success successful successfully super sweet thank thankful thanks \
             trustworthy valuable well_done winner works_well worth wow friendly professional efficient courteous attentive caring champion \
             charming convenient courtesy fun gorgeous graceful hilarious honest hospitable ideal inspiring joyful likable loving luxurious \
             patient peaceful praise prompt promptly respectful seamless sincere sincerely skilled stunning superior supportive thoughtful \
             tremendous warm welcoming yay bravo",
        ),
        (
            1,
            "absolutely accept accepted accurate advantage affordable agree agreed approve approved assist assistance assure available benefit better \
             bonus calm certain certainly clean clear clearly comfortable comfort compensation correct definitely deserve discount easier easily \
             easy effective encourage encouraging ensure fair fairly favor favorite favourite fine fixed flexible free fresh gift \
             guarantee guaranteed help helped helping helps hope hopeful hopefully improve improved improvement included interested interesting \
             no_problem no_worries okay optimistic organized positive prefer privilege progress promise quick quickly quiet ready reasonable refund \
             refunded reassured reassuring relax relaxed resolve resolved resolution respect reward safe secure simple smart solution sorted \
             strong sure support thanked trust understand understood upgrade upgraded useful welcome willing wise absolutely_right \
             looking_forward at_ease",
        ),
        (
            -1,
            "alone anxious apologies apologize apologise bother bothered bothering busy cancel canceled cancelled cancellation complicated \
             concern concerned concerns confuse confusing confused confusion costly delay delayed delays deny difficult difficulty dirty dispute doubt \
             doubtful embarrassing empty error errors excuse expensive expired fault forget forgot fee hesitate hurry impatient impossible \
             inconvenience inconvenient incorrect issue issues lack limited loud mess messy misunderstanding miss missed missing mistake mistaken \
             negative nervous noise noisy odd old overdue pain penalty pity problem problems refuse refused regret \
             reject rejected returned risk sad shame shortage sick skeptical slow slowly smell sorry stain strange stress stressed stuck suspicious \
             tired trouble unable unavailable uncertain unclear uncomfortable unexpected unfortunately unknown unsure unusual waited \
             waiting warning weak weird worried worry worrying wrong_number sadly unlucky lost",
        ),
        (
            -2,
            "abandoned absurd aggressive angry annoyed annoying annoy argue ashamed avoid bad badly blame broke broken careless cheat cheated \
             complain complained complaining complaint complaints crash crashed damage damaged dangerous dead deaf deceived defect defective deplorable \
             depressed desperate dirt disagree disappoint disappointed disappointing disappointment disaster dishonest dislike disrespectful dissatisfied disturbing \
             dreadful dump emergency fail failed failing fails failure fake false fear fed_up filthy forced fraud frustrate frustrated frustrating frustration \
             furiously garbage gross harm hurt ignored ignorant inadequate incompetent inferior insult insulted insulting irresponsible irritated irritating joke \
             lawyer lazy leak leaking liar lie lied lies losing loss mad misleading mold mould nasty neglected nonsense not_working offended \
             outdated overcharged overpriced painful panic pathetic poor poorly rejecting refusing ripped_off robbed rotten rubbish rude ruin ruined scandal \
             scared shabby shame_on shocked shocking sloppy stolen stupid sucks suffer suffered sue tasteless threat trash ugly unacceptable \
             unbelievable unfair unfriendly unhappy unhelpful unprofessional unreasonable unreliable unsafe unsatisfied untrue upset upsetting useless violated vulgar \
             waste wasted wasting worse worthless wrong wrongly bug bugs cockroach broken_down cut_off hung_up hang_up",
        ),
        (
            -3,
            "abysmal abuse abused appalled appalling atrocious awful awfully catastrophe catastrophic criminal despicable despise devastated \
             disgrace disgraceful disgust disgusted disgusting enraged furious hate hated hates hell hideous horrendous horrible horribly horrified \
             infuriating intolerable livid miserable nightmare outrage outraged outrageous ridiculous scam scammed scammer scammers sickening terrible terribly \
             terrified vile worst threaten thieves thief crap damn bullshit idiot idiots",
        ),
        (0, "good_morning good_afternoon good_evening good_night good_day kind_of sort_of excuse_me pretty_much"),
    ],
    negations: "not no never none nobody nothing neither nor without cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt couldnt \
        shouldnt havent hasnt hadnt aint mustnt hardly scarcely barely",
    intensifiers: "very really extremely absolutely totally completely so too incredibly particularly especially truly highly deeply utterly \
        remarkably unbelievably super seriously exceptionally thoroughly entirely",
    softeners: "slightly somewhat bit little fairly rather quite kinda sort kind almost partly mildly",
    contrasts: "but however although though yet except",
};
