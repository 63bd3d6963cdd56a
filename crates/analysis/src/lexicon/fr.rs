//! French.

use super::Lists;

pub(super) const LISTS: Lists = Lists {
    weights: &[
        (
            3,
            "adore adorable adorer admirable enchante enchantee enchanter epatant epoustouflant excellent excellente exceptionnel exceptionnelle extraordinaire \
             fabuleux fabuleuse fantastique formidable genial geniale impeccable impeccablement incroyable magnifique merveille merveilleux merveilleuse \
             parfait parfaite parfaitement prodigieux ravi ravie remarquable sensationnel sensationnelle splendide sublime superbe irreprochable exquis fabuleusement amour",
        ),
        (
            2,
            "accueillant accueillante agreable agreablement aimable aimablement amabilite aime aimer amical amusant apprecie apprecier attentif attentionne attentive beau beaute belle bienveillant \
             bonheur bravo chaleureux chaleureuse bonne bon bons bonnes chance charmant charmante comble competent competente compliment confortable content contente \
             convivial cordial cordialement courtois courtoise delicieux delicieuse devoue diligent douceur efficace efficacement efficacite enthousiasme enthousiaste felicitations \
             feliciter fiable fier fiere genereux genereuse gentil gentille gentillesse gentiment grace heureuse heureusement heureux honnete ideal ideale impressionnant impressionne \
             interessant joie joli jolie joyeux louable luxueux meilleur meilleure meilleurs merci patient paisible plaisant plaisir poli polie politesse ponctuel \
             precieux professionnel professionnelle professionnalisme ravissant reconnaissance reconnaissant reconnaissante recommande recommander recommandable remercie remercier \
             remerciements respectueux reussi reussie reussir reussite satisfaction satisfait satisfaite satisfaisant savoureux serviable serein sincere sincerement souriant sourire soulage \
             soulagee succes sympa sympathique super top tranquille utile vaillant valeureux volontiers bienvenu bienvenue",
        ),
        (
            1,
            "bien mieux abordable acceptable accepte accepter accord d_accord adapte adequat aide aider aidee aise approuver assister assistance assurer assure avantage avantageux avec_plaisir \
             bonus cadeau calme certain certainement chaud clair claire clairement commode comprend comprendre comprends compris confiance confirme confirmer correct correcte correctement \
             corriger dedommagement dedommager disponible effectivement encourager encourageant entendu equitable espere esperer espoir exact exactement facile facilement favorable \
             flexible fonctionne garanti garantie garantir gratuit gratuite gratuitement honneur inclus incluse important interesse interessee juste libre logique \
             merite mignon moderne net normal offert offerte opportunite optimiste passionnant pas_grave pas_de_souci positif positive pratique pret prete promis promesse promets \
             propre proprete preferer prefere progres ameliorer ameliore amelioration rapide rapidement rapidite rassurant rassure rassurer raisonnable reduction rembourse rembourser remboursement \
             remise reparer repare repose resolu resoudre respect respecter sain securise securite simple simplement soigne soigneux solution solide souhait stable suffisant \
             sur_mesure surclassement tranquillite valable valide vrai volontaire bonifie aucun_probleme",
        ),
        (
            -1,
            "absent annule annulee annuler annulation anxieux attendre attendu attente bizarre bruit bruyant bruyante cher chere compliquee complique confus confuse confusion \
             couteux craindre crains crainte debordee deborde defavorable delai desole desolee desordre difficile difficilement difficulte difficultes dommage doute douteux ennui \
             ennuye ennuyeux erreur erreurs etrange excuse excuser excuses excusez expire fatigue fatigant fatiguee faible froid froide gene genant gener hesite hesiter impatient imprecis impossible incertain \
             incident incomplet inconfort inconfortable inconnu inconvenient incorrect incorrecte indisponible indispose inquiet inquiete inquietude inquieter inquietant insuffisant insuffisante \
             isole lent lente lenteur lourd malentendu malheureusement malade manque manquant manquer mefiance negatif negative nerveux nerveuse oubli oublie oublier pardon \
             peine penalite penible perplexe peur preoccupe preoccupation probleme problemes refus refuse refuser regret regrette regretter rejete rejeter reporter retard retarde \
             retards risque solitaire soucis souci stress stresse stressant suspect surcharge surpris tard tarder tendu triste tristesse urgence \
             vide hors_service panne coupure coupe malentendus",
        ),
        (
            -2,
            "abandonne absurde abus abusif agace agacant agacee agressif agressive amende avocat bafoue bete betise blesse brise cafard cafards casse cassee colere conflit \
             coquille danger dangereux dangereuse deception decevant decevante deconseille decu decue defaut defectueux defectueuse degat degats degoute degrade delabre \
             deplaisant deprime desagreable desespere desesperant detruit disparu dispute dommages douleur douloureux echec echoue endommage endommagee \
             enerve enervee enervant enerver faux fausse faute fautif fiasco frauduleux fraude frustrant frustration frustre frustree fuite furieusement grossier grossiere hostile ignore \
             ignoree illegal impoli impolie impolitesse inacceptable inadapte incapable incompetence incompetent incompetente incomprehensible incorrectement \
             indifference inefficace inexact injuste injustice injurie insatisfait insatisfaite insatisfaction insulte insulter inutile inutilisable irrespectueux irresponsable \
             irrite mal maladroit malhonnete malpoli mauvais mauvaise mauvaises mecontent mecontente mecontentement mediocre mensonge mensonges menace menacer menti menteur mentir \
             mepris meprisant minable moisi moisissure n_importe nul nulle nullite odeur offense perdre perdu perdue perte pire pires plaindre plainte plaint poubelle \
             puant pourri ras_le raccroche rate ratee reclamation reclamations reclamer ridiculise rupture sale saletes salete souffrir tromper trompe tromperie tort tricher vole \
             vulgaire surfacture surtaxe moche laid bacle",
        ),
        (
            -3,
            "abject abominable affreux affreuse arnaque arnaquer arnaqueur atroce aberrant catastrophe catastrophique cauchemar criminel debile degoutant degoutante deplorable desastre \
             desastreux detestable deteste detester ecoeurant ecoeure effroyable enfer epouvantable escroc escroquerie exaspere exasperant execrable furieux furieuse haine hais honte honteux honteuse \
             horreur horrible horribles idiot idiote ignoble immonde imbecile inadmissible infame infernal infect inhumain insupportable intolerable lamentable merde \
             miserable monstrueux odieux odieuse outrage pitoyable repugnant revoltant ridicule scandale scandaleux scandaleuse terrible terrifiant voleur voleurs",
        ),
        (0, "eh_bien bien_sur ou_bien bien_entendu"),
    ],
    negations: "pas ni jamais rien aucun aucune personne sans non guere point",
    intensifiers: "tres vraiment extremement absolument totalement completement tellement si trop particulierement tout fort hyper super incroyablement enormement \
        profondement terriblement beaucoup",
    softeners: "peu assez plutot legerement presque relativement moyennement",
    contrasts: "mais cependant pourtant toutefois quoique sauf",
};
